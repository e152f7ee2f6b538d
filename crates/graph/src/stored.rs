//! Serde forms of the call core's values, for records that are kept as JSON. The core itself
//! knows no serde.

/// Values with `Display` and `FromStr`, as text.
pub(crate) mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `Direction` by its Graph text.
pub(crate) mod direction {
    use graphophone_call::Direction;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn name(direction: Direction) -> &'static str {
        match direction {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        }
    }

    pub(crate) fn serialize<S: Serializer>(
        direction: &Direction,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name(*direction))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Direction, D::Error> {
        let text = String::deserialize(deserializer)?;
        [Direction::Incoming, Direction::Outgoing]
            .into_iter()
            .find(|direction| name(*direction) == text)
            .ok_or_else(|| D::Error::custom("not a direction"))
    }
}

/// Moments as RFC 3339 in UTC with microseconds; `None` as null.
pub(crate) mod moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use time::{
        OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem,
        macros::format_description,
    };

    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

    pub(crate) fn serialize<S: Serializer>(
        moment: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = moment.map(|moment| moment.to_offset(UtcOffset::UTC).format(FORMAT));
        text.transpose().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| PrimitiveDateTime::parse(&text, FORMAT);
        let moment = text.map(parse).transpose().map_err(D::Error::custom)?;
        Ok(moment.map(PrimitiveDateTime::assume_utc))
    }
}
