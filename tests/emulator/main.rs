//! The adapters against third-party emulators.
