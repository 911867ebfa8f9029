//! Secrets as serialized parts of records and mails show them: never. A crash file says only that there was one. Named in
//! `#[serde(with = …)]`, so that no secret reaches whoever writes files.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::SessionSecret;

/// What stands for a secret that exists. One that was never given out is all zeros and means something to the turns.
const HIDDEN: SessionSecret = [0xff; 16];

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shown {
    Unset,
    Hidden,
}

impl From<&SessionSecret> for Shown {
    fn from(secret: &SessionSecret) -> Self {
        if *secret == SessionSecret::default() { Self::Unset } else { Self::Hidden }
    }
}

impl From<Shown> for SessionSecret {
    fn from(shown: Shown) -> Self {
        match shown {
            Shown::Unset => Self::default(),
            Shown::Hidden => HIDDEN,
        }
    }
}

pub(crate) fn serialize<S: Serializer>(secret: &SessionSecret, serializer: S) -> Result<S::Ok, S::Error> {
    Shown::from(secret).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionSecret, D::Error> {
    Shown::deserialize(deserializer).map(SessionSecret::from)
}

/// The same for a secret that may be missing.
pub(crate) mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Shown;
    use crate::id::SessionSecret;

    pub(crate) fn serialize<S: Serializer>(secret: &Option<SessionSecret>, serializer: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Shown::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionSecret>, D::Error> {
        Ok(Option::<Shown>::deserialize(deserializer)?.map(SessionSecret::from))
    }
}
