//! Office Open XML: a ZIP archive of XML parts that refer to each other. Parts are read as streams, and parsing ends when
//! enough text is written, so that what a part would unpack to matters only as far as it is read.

mod package;
pub(crate) mod sheets;
pub(crate) mod word;
mod xml;
