//! Types that are a text in every format. With feature `serde`, they serialize with `Display` and
//! deserialize with `FromStr`.

/// Implements `Serialize` with `Display` and `Deserialize` with `FromStr`. Error messages do not
/// repeat the text.
#[cfg(feature = "serde")]
macro_rules! serde_text {
    ($type:ty, $what:literal) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        $crate::text::deserialize_text!($type, $what);
    };
}

/// Implements `Deserialize` with `FromStr`. Error messages do not repeat the text.
#[cfg(feature = "serde")]
macro_rules! deserialize_text {
    ($type:ty, $what:literal) => {
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::text::Text::new($what))
            }
        }
    };
}

/// Does nothing without feature `serde`.
#[cfg(not(feature = "serde"))]
macro_rules! serde_text {
    ($type:ty, $what:literal) => {};
}

#[cfg(feature = "serde")]
pub(crate) use deserialize_text;
pub(crate) use serde_text;

#[cfg(feature = "serde")]
pub(crate) use visitor::Text;

#[cfg(feature = "serde")]
mod visitor {
    use std::{fmt, marker::PhantomData, str::FromStr};

    use serde::de::{Error, Visitor};

    /// Deserializes a text and parses it.
    pub(crate) struct Text<T> {
        what: &'static str,
        parsed: PhantomData<T>,
    }

    impl<T> Text<T> {
        pub(crate) fn new(what: &'static str) -> Self {
            let parsed = PhantomData;
            Self { what, parsed }
        }
    }

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "the text of a valid {}", self.what)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
}
