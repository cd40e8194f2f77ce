//! What an option of an 'edit' command gives: a value, or nothing in the place of one.

use std::str::FromStr;

/// A value; none if the text was empty, which takes away what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<T>(pub(crate) Option<T>);

impl<T: FromStr> FromStr for Given<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

/// What an option of this kind gives to a service: none if it was not typed.
pub(crate) fn given<T>(option: Option<Given<T>>) -> Option<Option<T>> {
    option.map(|given| given.0)
}

/// What a pair of switches says: none if neither was typed.
pub(crate) fn switched(on: bool, off: bool) -> Option<bool> {
    (on || off).then_some(on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LastDay;

    #[test]
    fn an_empty_text_takes_away() {
        assert_eq!("".parse::<Given<LastDay>>(), Ok(Given(None)));
        assert_eq!("2026-12-31".parse::<Given<LastDay>>().unwrap().0.unwrap().to_string(), "2026-12-31");
        assert!("tomorrow".parse::<Given<LastDay>>().is_err());
    }
}
