//! Which images of an item the records of a DynamoDB stream hold.
//!
//! Pure. Owns the names of the view types (API reference of StreamSpecification, `StreamViewType`).

use std::fmt;

/// A stream's view type. It is chosen when the stream is enabled, and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    KeysOnly,
    NewImage,
    OldImage,
    NewAndOldImages,
}

impl View {
    /// `None`: one that Weir doesn't know.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::KeysOnly,
            Self::NewImage,
            Self::OldImage,
            Self::NewAndOldImages,
        ]
        .into_iter()
        .find(|view| view.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }

    pub fn has_new(self) -> bool {
        matches!(self, Self::NewImage | Self::NewAndOldImages)
    }

    pub fn has_old(self) -> bool {
        matches!(self, Self::OldImage | Self::NewAndOldImages)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
