//! What a guest wanted and was not granted: each refusal is noted, so that the operator sees which grant was missing, and
//! not only the guest.

use std::sync::{Arc, Mutex, PoisonError};

use vivarium_sight::metric;

/// The most denials of one call that are kept word for word.
const MAX_DENIALS: usize = 32;
/// The longest text of one.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// Something that a guest wanted and was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// `hosts`, `secrets`, `files`, `corpus`, `state` or `programs`.
    pub capability: &'static str,
    /// What was wanted, and which grant would allow it.
    pub message: String,
}

#[derive(Debug, Default)]
struct Noted {
    denials: Vec<Denial>,
    more: u64,
}

/// The denials of one call. Clones share them, because requests outlive the host call that makes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Denials(Arc<Mutex<Noted>>);

impl Denials {
    /// Notes one; the same one is noted once, and beyond the bound they are only counted.
    pub(crate) fn note(&self, capability: &'static str, mut message: String) {
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            message.push('…');
        }
        let denial = Denial { capability, message };
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.denials.contains(&denial) {
            return;
        }
        metric::GUEST_DENIALS.add(1, &[("capability", capability)]);
        if noted.denials.len() < MAX_DENIALS {
            noted.denials.push(denial);
        } else {
            noted.more = noted.more.saturating_add(1);
        }
    }

    /// All that was noted. How many more there were is told by the last one.
    pub(crate) fn take(&self) -> Vec<Denial> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Noted { mut denials, more } = std::mem::take(&mut *noted);
        if let Some(last) = denials.last_mut().filter(|_| more > 0) {
            last.message.push_str(&format!(" (and {more} more denials)"));
        }
        denials
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_bounded_in_number_and_length_and_the_rest_is_counted() {
        let denials = Denials::default();
        for number in 0..40 {
            denials.note("hosts", format!("{number} {}", "ä".repeat(MAX_MESSAGE_BYTES)));
            denials.note("hosts", "always the same".to_owned());
        }
        let taken = denials.take();
        assert_eq!(taken.len(), MAX_DENIALS);
        assert!(taken.iter().all(|denial| denial.message.len() < MAX_MESSAGE_BYTES + 40));
        assert_eq!(taken.iter().filter(|denial| denial.message == "always the same").count(), 1);
        assert!(taken.last().unwrap().message.ends_with("… (and 9 more denials)"), "{:?}", taken.last());
        assert!(denials.take().is_empty());
    }
}
