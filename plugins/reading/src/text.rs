//! The text that is written, and its bound: a small file can unpack to a text without end.

/// Markdown in the making.
#[derive(Debug)]
pub(crate) struct Text {
    written: String,
    max_bytes: usize,
    full: bool,
}

impl Text {
    /// At most so many bytes of text.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { written: String::new(), max_bytes, full: false }
    }

    /// Nothing more is taken: whoever writes can stop.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Adds what fits.
    pub(crate) fn push(&mut self, text: &str) {
        if self.full {
            return;
        }
        let room = self.max_bytes.saturating_sub(self.written.len());
        self.full = text.len() > room;
        let fitting = text.floor_char_boundary(room);
        self.written.push_str(text.get(..fitting).unwrap_or_default());
    }

    /// Ends the line, if one has begun.
    pub(crate) fn end_line(&mut self) {
        if !self.written.is_empty() && !self.written.ends_with('\n') {
            self.push("\n");
        }
    }

    /// Ends the paragraph, if one has begun.
    pub(crate) fn end_paragraph(&mut self) {
        self.end_line();
        if !self.written.is_empty() && !self.written.ends_with("\n\n") {
            self.push("\n");
        }
    }

    /// How many bytes more fit.
    pub(crate) fn room(&self) -> usize {
        self.max_bytes.saturating_sub(self.written.len())
    }

    /// The text, if anything but white space was written.
    pub(crate) fn finish(mut self) -> Option<String> {
        if !self.full {
            self.written.truncate(self.written.trim_end().len());
        }
        (!self.written.trim().is_empty()).then_some(self.written)
    }
}
