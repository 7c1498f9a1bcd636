//! Spring Session's cookie (`DefaultCookieSerializer`): a UUID in base64.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine;

use super::{Carried, Open};
use crate::session::id::Invalid;

/// A UUID in its 36 characters and, where one is configured, the route of the JVM that wrote it, in base64.
#[derive(Debug)]
pub(super) struct Base64Uuid;

/// Java's `Base64.getDecoder()` takes `=` at the end as it must be or not at all, and of the last character
/// only the bits that count.
const fn java(padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config.with_decode_padding_mode(padding))
}
const PADDED: GeneralPurpose = java(DecodePaddingMode::RequireCanonical);
const UNPADDED: GeneralPurpose = java(DecodePaddingMode::RequireNone);

impl Open for Base64Uuid {
    /// Each JVM cuts its own route; here it may be anyone's.
    fn open<'v>(&self, value: &'v [u8], _: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        const LENGTH: usize = 36;
        let engine = if value.ends_with(b"=") { PADDED } else { UNPADDED };
        let mut id = engine.decode(value).map_err(|_| Invalid::Base64)?;
        id.truncate(LENGTH);
        Ok(Cow::Owned(id))
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::session::scheme::tests::CARRIED;

    const ID: &str = "6f1b2c3d-4e5f-4a6b-8c7d-0123456789ab";

    fn open(value: impl AsRef<[u8]>) -> Result<Vec<u8>, Invalid> {
        Base64Uuid.open(value.as_ref(), &CARRIED).map(Cow::into_owned)
    }

    #[test]
    fn a_captured_cookie() {
        let id = open("NmYxYjJjM2QtNGU1Zi00YTZiLThjN2QtMDEyMzQ1Njc4OWFi");
        assert_eq!(id, Ok(ID.as_bytes().to_vec()));
    }

    #[test]
    fn a_route_behind_the_id_is_cut_off() {
        for route in ["node1", ".node1", "1"] {
            let value = STANDARD.encode(format!("{ID}{route}"));
            assert_eq!(open(&value), Ok(ID.as_bytes().to_vec()));
            assert_eq!(open(value.trim_end_matches('=')), Ok(ID.as_bytes().to_vec()));
        }
    }

    #[test]
    fn base64_as_java_reads_it() {
        for value in ["YQ==", "YQ", "YR==", "YR"] {
            assert_eq!(open(value), Ok(b"a".to_vec()), "{value}");
        }
        for value in ["YQ=", "Y", "Y===", "YQ==YQ==", "Y-Q_", ID, " YQ==", "YQ==\n", "YWE%3D"] {
            assert_eq!(open(value), Err(Invalid::Base64), "{value}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_read_up_to_an_ids_length(id in prop::collection::vec(any::<u8>(), 0..60)) {
            let opened = open(STANDARD.encode(&id));
            prop_assert_eq!(opened.unwrap(), &id[..id.len().min(36)]);
        }
    }
}
