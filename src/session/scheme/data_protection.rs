//! ASP.NET Core's data protection, in which its session middleware keeps ids.
//!
//! By AES-256-CBC and HMACSHA256, its default, and by keys of a key ring that is not encrypted itself. The
//! rules are those of `KeyRingBasedDataProtector`, `ManagedAuthenticatedEncryptor` and
//! `ManagedSP800_108_CTR_HMACSHA512`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use aes::cipher::common::Key;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::Aes256;
use base64::Engine;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{Carried, Open};
use crate::config::ConfigError;
use crate::session::cipher::cbc;
use crate::session::id::Invalid;
use crate::session::secrets::{hmac, Secrets, BASE64};

/// What every protected text begins with, in its version 0.
const MAGIC: &[u8; 4] = b"\x09\xf0\xc9\xf0";

/// The bytes of a key of AES-256.
const KEY: usize = 32;

/// The bytes of HMACSHA256 and of its keys.
const MAC: usize = 32;

/// Magic bytes, the key's GUID, a modifier of the key, an IV, what is encrypted, and a MAC, in base64.
pub(super) struct DataProtection {
    /// Whatever is derived of a master key is derived by this HMAC.
    masters: Vec<Hmac<Sha512>>,
    /// What a text is protected for, as it is authenticated.
    purposes: Vec<u8>,
    /// The algorithms, as they are authenticated.
    context: Vec<u8>,
}

impl DataProtection {
    /// The secrets are master keys. `application` is the application's name, empty where it has none.
    pub(super) fn new(application: &str, secrets: Option<&Secrets>) -> Result<Self, ConfigError> {
        /// `AlgorithmConfiguration.KDK_SIZE_IN_BYTES`
        const LENGTH: usize = 64;
        let keys = secrets.into_iter().flat_map(|secrets| secrets.iter().zip(secrets.places()));
        let masters = keys.map(|(key, place)| match key.len() {
            LENGTH => Ok(hmac(key)),
            _ => Err(ConfigError::new(format!(
                "{place}: a key ring's masterKey must be {LENGTH} bytes after \"base64:\""
            ))),
        });
        Ok(Self {
            masters: masters.collect::<Result<_, _>>()?,
            purposes: purposes(application),
            context: context::<Aes256>(),
        })
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for DataProtection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataProtection").finish_non_exhaustive()
    }
}

impl Open for DataProtection {
    /// `CookieProtection.Unprotect`. The text names its key by a GUID that the master keys come without, so
    /// each is tried.
    fn open<'v>(&self, value: &'v [u8], _: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let text = BASE64.decode(value).map_err(|_| Invalid::Unsigned)?;
        let payload = Payload::parse(&text).ok_or(Invalid::Unsigned)?;
        let id = self.masters.iter().find_map(|master| self.unprotect(master, &payload));
        id.map(Cow::Owned).ok_or(Invalid::Signature)
    }
}

impl DataProtection {
    fn unprotect(&self, master: &Hmac<Sha512>, payload: &Payload<'_>) -> Option<Vec<u8>> {
        let label = [MAGIC, payload.key_id, &self.purposes].concat();
        let context = [self.context.as_slice(), payload.modifier].concat();
        let keys = derive(master, &label, &context, KEY + MAC);
        let (encryption, validation) = keys.split_first_chunk::<KEY>()?;
        let mac = hmac::<Sha256>(validation).chain_update(payload.iv);
        let mac = mac.chain_update(payload.sealed).finalize().into_bytes();
        if !bool::from(mac.ct_eq(payload.mac)) {
            return None;
        }
        cbc(&Aes256::new(encryption.into()), payload.iv, payload.sealed)
    }
}

/// A protected text in its parts.
struct Payload<'t> {
    key_id: &'t [u8],
    modifier: &'t [u8],
    iv: &'t [u8],
    sealed: &'t [u8],
    mac: &'t [u8],
}

impl<'t> Payload<'t> {
    fn parse(text: &'t [u8]) -> Option<Self> {
        let (key_id, rest) = text.strip_prefix(MAGIC)?.split_at_checked(16)?;
        let (modifier, rest) = rest.split_at_checked(16)?;
        let (iv, rest) = rest.split_at_checked(16)?;
        let (sealed, mac) = rest.split_last_chunk::<MAC>()?;
        Some(Self { key_id, modifier, iv, sealed, mac })
    }
}

/// The number of purposes and each of them, after its length in groups of 7 bits: the application, and what
/// `SessionMiddleware` creates its protector for.
fn purposes(application: &str) -> Vec<u8> {
    let purposes = [application, "SessionMiddleware"];
    let purposes = purposes.iter().filter(|purpose| !purpose.is_empty());
    let mut bytes = vec![0, 0, 0, if application.is_empty() { 1 } else { 2 }];
    for purpose in purposes {
        let mut length = purpose.len();
        while length >= 0x80 {
            bytes.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(purpose.as_bytes());
    }
    bytes
}

/// The context header of AES-CBC, `C` with its key length, and HMACSHA256: that it is CBC with HMAC; lengths
/// of the key, a block, the HMAC's key and the HMAC; what both make of an empty text by keys of an empty
/// master key.
fn context<C>() -> Vec<u8>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    let mut key = Key::<C>::default();
    let keys = derive(&hmac(b""), b"", b"", key.len() + MAC);
    key.iter_mut().zip(keys).for_each(|(to, from)| *to = from);
    let validation: Vec<u8> = keys.into_iter().skip(key.len()).take(MAC).collect();
    // Of an empty text CBC encrypts its padding only, here after an IV of zeros.
    let mut block = [16; 16].into();
    C::new(&key).encrypt_block(&mut block);
    let mut context = vec![0, 0];
    for length in [key.len(), block.len(), MAC, MAC] {
        context.extend_from_slice(&(length as u32).to_be_bytes());
    }
    context.extend_from_slice(&block);
    context.extend_from_slice(&hmac::<Sha256>(&validation).finalize().into_bytes());
    context
}

/// The key for encryption and the one for validation, which have `length` bytes together: NIST SP 800-108 in
/// counter mode, of which one step of HMAC-SHA-512 gives all that is needed.
fn derive(master: &Hmac<Sha512>, label: &[u8], context: &[u8], length: usize) -> [u8; 64] {
    const STEP: [u8; 4] = 1_u32.to_be_bytes();
    let bits = (8 * length as u32).to_be_bytes();
    let mac = master.clone().chain_update(STEP).chain_update(label).chain_update([0]);
    mac.chain_update(context).chain_update(bits).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::key::hex;
    use crate::session::scheme::tests::CARRIED;

    const MASTER: &str = "base64:UgWKNKOE8hZpvWdOx8EQ4+LeUo18YHUkmfq9iRpXhN/MZEyEt0AVRtidMPSecGZlx+rlIUt+8sJNbIKCjM4rxg==";
    const OTHER: &str = "base64:AQWKNKOE8hZpvWdOx8EQ4+LeUo18YHUkmfq9iRpXhN/MZEyEt0AVRtidMPSecGZlx+rlIUt+8sJNbIKCjM4rxg==";
    const CAPTURED: &str = "CfDJ8C0ciz9fTnFggpOktcbX6PmbBd5z1D+MTsERDGvMUxK88LU7LaBB/KSe8LmDkGCzRTxOrT8Z1oBwtsAdjzmQxi3ppMLL9X1rcM7fHZMUX5PjTKTkWI7Tdve95L5417RZgZhPsWIb1Ml7Z/4or8I+xC9FXaoGDL3H3ClLfQLBSV55";
    const ID: &str = "c0ffee00-1234-4abc-9def-0123456789ab";

    fn scheme(application: &str, keys: &[&str]) -> Result<DataProtection, ConfigError> {
        DataProtection::new(application, Some(&Secrets::parse_args(keys).unwrap()))
    }

    fn open(scheme: &DataProtection, value: &str) -> Result<String, Invalid> {
        let id = scheme.open(value.as_bytes(), &CARRIED)?.into_owned();
        Ok(String::from_utf8(id).unwrap())
    }

    #[test]
    fn an_emulated_cookie() {
        for keys in [&[MASTER][..], &[OTHER, MASTER]] {
            assert_eq!(open(&scheme("shop-app", keys).unwrap(), CAPTURED).unwrap(), ID);
        }
    }

    #[test]
    fn of_another_key_or_application() {
        for scheme in [
            scheme("shop-app", &[OTHER]),
            scheme("shop", &[MASTER]),
            scheme("", &[MASTER]),
            DataProtection::new("shop-app", None),
        ] {
            assert_eq!(open(&scheme.unwrap(), CAPTURED), Err(Invalid::Signature));
        }
    }

    #[test]
    fn what_is_not_protected() {
        let scheme = scheme("shop-app", &[MASTER]).unwrap();
        for value in ["", ID, "CfDJ8A", "CfDJ8", &CAPTURED[..110], &format!("A{CAPTURED}")] {
            assert_eq!(open(&scheme, value), Err(Invalid::Unsigned), "{value}");
        }
        assert_eq!(open(&scheme, &CAPTURED[..120]), Err(Invalid::Signature));
        // Another version.
        assert_eq!(
            open(&scheme, &CAPTURED.replacen("CfDJ8C", "CfDJ8S", 1)),
            Err(Invalid::Unsigned)
        );
    }

    #[test]
    fn purposes_are_counted_and_measured() {
        assert_eq!(purposes(""), b"\0\0\0\x01\x11SessionMiddleware");
        assert_eq!(purposes("ab"), b"\0\0\0\x02\x02ab\x11SessionMiddleware");
        let long = purposes(&"a".repeat(300));
        assert_eq!(long[..7], *b"\0\0\0\x02\xac\x02a");
    }

    /// The example in Microsoft's documentation, "Context headers in ASP.NET Core".
    #[test]
    fn a_documented_context() {
        assert_eq!(
            hex(&context::<aes::Aes192>()),
            "00000000001800000010000000200000\
             0020f474b1872b3b53e4721de19c0841\
             db6fd4791184b996092ee1202f36e860\
             8fa8fbd98abdff5402f264b1d7211536\
             220c"
        );
    }

    #[test]
    fn mistakes_in_keys() {
        let refused = |key| scheme("", &[key]).unwrap_err().to_string();
        let message = "secret 1: a key ring's masterKey must be 64 bytes after \"base64:\"";
        assert_eq!(refused(MASTER.strip_prefix("base64:").unwrap()), message);
        assert_eq!(refused("base64:UgWKNKOE8hZp"), message);
        assert_eq!(format!("{:?}", scheme("a", &[MASTER]).unwrap()), "DataProtection { .. }");
    }

    proptest! {
        #[test]
        fn only_what_was_protected_opens(change in any::<(prop::sample::Index, u8)>()) {
            let scheme = scheme("shop-app", &[MASTER]).unwrap();
            let mut text = BASE64.decode(CAPTURED).unwrap();
            let at = change.0.index(text.len());
            prop_assume!(change.1 != 0);
            text[at] ^= change.1;
            prop_assert!(open(&scheme, &BASE64.encode(text)).is_err());
        }
    }
}
