//! A deploy, by what chart and template render.
