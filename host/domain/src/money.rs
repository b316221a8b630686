//! Money: whole billionths of a US dollar inside, a decimal text in dollars outside, and never a float.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::schema;

/// How many of our units are one dollar.
const NANOS: u64 = 1_000_000_000;

/// The most digits behind the point.
const DECIMALS: usize = 9;

/// An amount of US dollars, exact to a billionth. Written as a decimal text: `"0.0025"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a dollar.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How many billionths of a dollar it is.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// It is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Both together; at most what can be written.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left when `other` is taken away; at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What so many things cost of which a million cost this: rounded up to a billionth.
    #[must_use]
    pub fn of_a_million(self, things: u64) -> Self {
        let nanos = (u128::from(self.0) * u128::from(things)).div_ceil(1_000_000);
        Self(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / NANOS, self.0 % NANOS);
        if rest == 0 {
            return write!(f, "{dollars}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{dollars}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Money {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "an amount of money is a decimal text in US dollars with at most {DECIMALS} digits behind the point, such as \
                 \"2.50\", and not {:?}",
                text.chars().take(40).collect::<String>()
            )
        };
        let (dollars, rest) = text.split_once('.').map_or((text, None), |(dollars, rest)| (dollars, Some(rest)));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(dollars) || rest.is_some_and(|rest| !digits(rest) || rest.len() > DECIMALS) {
            return Err(wrong());
        }
        let dollars: u64 = dollars.parse().map_err(|_| wrong())?;
        let rest: u64 = format!("{:0<9}", rest.unwrap_or_default()).parse().map_err(|_| wrong())?;
        dollars.checked_mul(NANOS).and_then(|nanos| nanos.checked_add(rest)).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Money {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Money> for String {
    fn from(money: Money) -> Self {
        money.to_string()
    }
}

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        let description = "US dollars as a decimal text, exact to a billionth.";
        schema::text(description, r"^[0-9]{1,10}(\.[0-9]{1,9})?$", 1..=20, "0.0025")
    }
}

impl ToSchema for Money {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_as_it_is_read() {
        for (text, nanos, written) in [
            ("0", 0, "0"),
            ("2.50", 2_500_000_000, "2.5"),
            ("0.000000001", 1, "0.000000001"),
            ("18446744073.709551615", u64::MAX, "18446744073.709551615"),
        ] {
            let money: Money = text.parse().unwrap();
            assert_eq!((money.nanos(), money.to_string().as_str()), (nanos, written));
        }
        for wrong in ["", ".5", "1.", "-1", "1e3", "1.0000000001", "18446744074", "٣"] {
            assert!(wrong.parse::<Money>().unwrap_err().contains("decimal text in US dollars"), "{wrong}");
        }
    }

    #[test]
    fn a_price_of_a_million_is_rounded_up_and_never_down() {
        let price: Money = "0.0375".parse().unwrap();
        assert_eq!(price.of_a_million(1_000_000), price);
        assert_eq!(price.of_a_million(1).nanos(), 38);
        assert_eq!(price.of_a_million(0), Money::ZERO);
        assert_eq!(Money::from_nanos(u64::MAX).of_a_million(u64::MAX).nanos(), u64::MAX);
    }
}
