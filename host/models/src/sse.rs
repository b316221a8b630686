//! Server-sent events, as models' servers really send them. Our own reader rather than a crate's, for three reasons: an
//! event is bounded before it is whole, nothing is allocated per event, and llama.cpp's old habit of sending a failure
//! as an `error:` line, which a strict reader drops in silence, is heard.

/// Why the bytes are no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    /// One event is longer than the bound.
    #[error("sent an event of more than {0} bytes")]
    TooLong(usize),
    /// An event is no UTF-8.
    #[error("sent an event that is not UTF-8")]
    NotUtf8,
}

/// Turns bytes, cut anywhere, into the `data` of events.
#[derive(Debug)]
pub(crate) struct Sse {
    /// What has come and is not read yet starts at `start`.
    buffer: Vec<u8>,
    start: usize,
    /// Up to here there is no line's end.
    searched: usize,
    /// The `data` lines of the event that is being read.
    data: Vec<u8>,
    /// `data` was given out and is to be cleared.
    given: bool,
    /// The last line ended in CR: an LF that comes next belongs to it.
    after_cr: bool,
    begun: bool,
    max_event_bytes: usize,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Sse {
    pub(crate) fn new(max_event_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            data: Vec::new(),
            given: false,
            after_cr: false,
            begun: false,
            max_event_bytes,
        }
    }

    /// Takes the next bytes from the wire.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event's data, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, SseError> {
        if self.given {
            self.data.clear();
            self.given = false;
        }
        while let Some(line_end) = self.line_end() {
            let line = self.start..line_end;
            self.start = line_end + 1;
            self.searched = self.start;
            if self.take_line(line)? {
                return self.give();
            }
        }
        self.check_size(self.buffer.len() - self.start)?;
        Ok(None)
    }

    /// After the last byte: the event that its server did not end with an empty line, if there is one.
    pub(crate) fn rest(&mut self) -> Result<Option<&str>, SseError> {
        self.push(b"\n\n");
        self.next()
    }

    /// Where the next line ends, with the mark at the start and the LF of a CR LF skipped.
    fn line_end(&mut self) -> Option<usize> {
        if !self.begun {
            let head = self.buffer.get(self.start..).unwrap_or_default();
            if head.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(head) {
                return None;
            }
            if head.starts_with(BYTE_ORDER_MARK) {
                self.start += BYTE_ORDER_MARK.len();
            }
            self.begun = true;
        }
        if self.after_cr {
            let next = self.buffer.get(self.start)?;
            if *next == b'\n' {
                self.start += 1;
            }
            self.after_cr = false;
        }
        let from = self.searched.max(self.start);
        let found = self.buffer.get(from..)?.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(offset) = found else {
            self.searched = self.buffer.len();
            return None;
        };
        self.after_cr = self.buffer.get(from + offset) == Some(&b'\r');
        Some(from + offset)
    }

    /// Reads one line; true where it ends an event.
    fn take_line(&mut self, range: std::ops::Range<usize>) -> Result<bool, SseError> {
        let line = self.buffer.get(range).unwrap_or_default();
        if line.is_empty() {
            return Ok(!self.data.is_empty());
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            // llama.cpp up to 2025 tells of a failure in this way.
            b"error" => {
                self.data.clear();
                self.data.extend_from_slice(b"{\"error\":");
                self.data.extend_from_slice(value);
                self.data.push(b'}');
            }
            _ => {}
        }
        self.check_size(self.data.len())?;
        Ok(false)
    }

    fn check_size(&self, bytes: usize) -> Result<(), SseError> {
        if bytes > self.max_event_bytes { Err(SseError::TooLong(self.max_event_bytes)) } else { Ok(()) }
    }

    fn give(&mut self) -> Result<Option<&str>, SseError> {
        self.given = true;
        std::str::from_utf8(&self.data).map(Some).map_err(|_| SseError::NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut sse = Sse::new(1_000);
        let mut events = Vec::new();
        for piece in pieces {
            sse.push(piece);
            while let Some(event) = sse.next().unwrap() {
                events.push(event.to_owned());
            }
        }
        while let Some(event) = sse.rest().unwrap() {
            events.push(event.to_owned());
        }
        events
    }

    #[test]
    fn comments_names_and_every_kind_of_line_end_are_read() {
        let bytes = b"\xEF\xBB\xBF: ping\n\nevent: x\ndata: one\n\nid: 3\r\ndata:two\r\n\r\ndata: three\rdata:  four\r\rretry: 3\n\ndata\n\n";
        assert_eq!(events(&[bytes]), ["one", "two", "three\n four"]);
    }

    #[test]
    fn an_error_line_of_llama_cpp_is_an_event() {
        let bytes = b"error: {\"code\":400,\"message\":\"too long\"}\n\ndata: [DONE]\n\n";
        assert_eq!(events(&[bytes]), [r#"{"error":{"code":400,"message":"too long"}}"#, "[DONE]"]);
    }

    #[test]
    fn an_event_that_never_ends_is_refused_at_the_bound() {
        let mut sse = Sse::new(10);
        sse.push(b"data: 0123");
        assert_eq!(sse.next(), Ok(None));
        sse.push(b"456789");
        assert_eq!(sse.next(), Err(SseError::TooLong(10)));

        let mut many_lines = Sse::new(10);
        many_lines.push(b"data: 0123\ndata: 4567\ndata: 89\n");
        assert_eq!(many_lines.next(), Err(SseError::TooLong(10)));
    }

    proptest! {
        #[test]
        fn where_the_wire_cuts_the_bytes_changes_nothing(
            texts in prop::collection::vec("[^\r\n]{1,20}", 1..6),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r", "\r\n"]), 6),
            cuts in prop::collection::vec(0_usize..200, 0..20),
        ) {
            let mut bytes = Vec::new();
            for (text, end) in texts.iter().zip(&ends) {
                bytes.extend_from_slice(format!("data: {text}{end}{end}").as_bytes());
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(events(&pieces), texts);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut sse = Sse::new(100);
            sse.push(&bytes);
            while let Ok(Some(_)) = sse.next() {}
        }
    }
}
