//! Enums as the JSON of requests writes them: by name or by number, and values that nobody knows are no error. An unknown
//! number is passed on to whoever carries the request out, and an unknown name stands for nothing, as in etcd's gateway.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The number of an enum's value.
pub(crate) struct Number<E>(pub(crate) i32, PhantomData<E>);

impl<'de, E: Deserialize<'de> + Into<i32>> Deserialize<'de> for Number<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number<E>, D::Error> {
        deserializer.deserialize_any(Written(PhantomData))
    }
}

struct Written<E>(PhantomData<E>);

impl<'de, E: Deserialize<'de> + Into<i32>> Visitor<'de> for Written<E> {
    type Value = Number<E>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name or the number of a value")
    }

    fn visit_i64<X: Error>(self, number: i64) -> Result<Number<E>, X> {
        let number = i32::try_from(number).map_err(|_| X::custom(format!("{number} is not a number of 32 bits")))?;
        Ok(Number(number, PhantomData))
    }

    fn visit_u64<X: Error>(self, number: u64) -> Result<Number<E>, X> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<X: Error>(self, name: &str) -> Result<Number<E>, X> {
        let known = E::deserialize(StrDeserializer::<X>::new(name));
        Ok(Number(known.map_or(0, Into::into), PhantomData))
    }
}
