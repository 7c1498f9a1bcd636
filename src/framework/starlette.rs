//! Starlette and FastAPI with starsessions.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;

pub(super) const ROW: Row =
    Row { names: &["starlette"], options: &[("prefix", "starsessions.")], build };

/// A session is rewritten with the time that it still has; only `rolling=True` gives it a new one, which its
/// data does not tell.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["session".to_owned()],
        // `cookie_parser` of `starlette/requests.py` overwrites a name and decodes nothing.
        identity: Identity { pick: Pick::Last, url_decode: false, ..plain.identity },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["json"])?),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;

    #[test]
    fn keys() {
        let own = "c9dfcedf02edcb75f980c2832d313c75";
        let starlette = framework("starlette", &["prefix=shop:"]);
        assert_eq!(starlette.cookies, ["session"]);
        assert_eq!(key(&starlette, own, &[]), format!("shop:{own}"));
        assert_eq!(key(&starlette, &format!("\"{own}\""), &[]), format!("shop:{own}"));
        assert_eq!(id(&starlette, &own.replace('c', "%63"), &[]), Err(Invalid::Alphabet));
        assert_eq!(
            refused(&["starlette", "lifetime=1"]),
            "unknown option of framework \"starlette\" \"lifetime\"; known: prefix"
        );
    }
}
