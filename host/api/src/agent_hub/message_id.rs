//! Ids of messages: `msg_<milliseconds since 1970>_<nine of 0-9 and a-z>`. The same message has the same id wherever it is
//! shown, and nothing is kept for that: of the nine, the last six are the message's number in its session, so that a page
//! that begins before a message is found at once, and the first three a check, so that an id of another session is noticed.
//! A message that is in no session has nine that are made from its run.

use vivarium_domain::{ContentHash, RunId, SessionId, Timestamp};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const NUMBER_DIGITS: usize = 6;
const CHECK_DIGITS: usize = 3;

/// The id of a session's message, by its number.
pub(super) fn of_session(session: &SessionId, number: u64, at: Timestamp) -> String {
    let milliseconds = at.as_millisecond();
    let check = check(session, milliseconds, number);
    format!("msg_{milliseconds}_{check}{}", base36(number, NUMBER_DIGITS))
}

/// The id of a message that is in no session.
pub(super) fn of_run(run: RunId, at: Timestamp) -> String {
    let digits = hashed(run.as_bytes(), NUMBER_DIGITS + CHECK_DIGITS);
    format!("msg_{}_{digits}", at.as_millisecond())
}

/// The number of the session's message that has this id; none: no message of this session has it.
pub(super) fn number(session: &SessionId, id: &str) -> Option<u64> {
    let (milliseconds, digits) = id.strip_prefix("msg_")?.split_once('_')?;
    let (found, number) = digits.split_at_checked(CHECK_DIGITS)?;
    let known = |digit: u8| DIGITS.contains(&digit);
    if number.len() != NUMBER_DIGITS || !number.bytes().all(known) {
        return None;
    }
    let milliseconds: i64 = milliseconds.parse().ok()?;
    let number = u64::from_str_radix(number, 36).ok()?;
    (found == check(session, milliseconds, number)).then_some(number)
}

fn check(session: &SessionId, milliseconds: i64, number: u64) -> String {
    hashed(format!("{session} {milliseconds} {number}").as_bytes(), CHECK_DIGITS)
}

fn hashed(bytes: &[u8], digits: usize) -> String {
    let hash = ContentHash::of(bytes);
    let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    base36(number, digits)
}

/// The last digits of a number. Six of them count two milliards of messages, which no session holds.
fn base36(mut number: u64, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        number /= 36;
    }
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(id: &str) -> SessionId {
        id.parse().unwrap()
    }

    #[test]
    fn an_id_looks_as_documented_and_names_its_message() {
        let at = "2023-11-29T06:29:27.890Z".parse().unwrap();
        let id = of_session(&session("s-1"), 35, at);
        assert_eq!(id, "msg_1701239367890_r6k00000z");
        assert_eq!(number(&session("s-1"), &id), Some(35));
        assert_eq!(number(&session("s-2"), &id), None, "it is of another session");
        assert_eq!(number(&session("s-1"), &id.replace("00z", "00y")), None, "it was changed");
        assert_eq!(number(&session("s-1"), &id.to_uppercase()), None);
        let alone = of_run("0192f000-0000-7000-8000-000000000001".parse().unwrap(), at);
        assert_eq!(alone.len(), id.len(), "{alone}");
    }

    proptest! {
        #[test]
        fn every_message_is_found_by_its_id(count in 0_u64..36_u64.pow(6), milliseconds in 0_i64..10_000_000_000_000) {
            let at = Timestamp::from_millisecond(milliseconds).unwrap();
            prop_assert_eq!(number(&session("s"), &of_session(&session("s"), count, at)), Some(count));
        }

        #[test]
        fn no_text_panics(text in "(msg_)?[-+0-9a-zü_]{0,30}") {
            let _any = number(&session("s"), &text);
        }
    }
}
