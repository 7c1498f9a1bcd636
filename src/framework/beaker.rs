//! Beaker with `ext:redis`, the sessions of Pyramid, Pylons and Bottle.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::{IdForm, KeyForm};
use crate::session::scheme::Scheme;

pub(super) const ROW: Row =
    Row { names: &["beaker"], options: &[("prefix", "beaker_cache:")], build };

/// A session is rewritten on each request, for a time that only the application's settings tell.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["beaker.session.id".to_owned()],
        // Python's `SimpleCookie` overwrites a name and decodes nothing; ids are `uuid4().hex`.
        identity: Identity {
            pick: Pick::Last,
            url_decode: false,
            scheme: Scheme::BeakerCookie,
            rule: IdRule::new("0-9a-f", 32, 32),
            ..plain.identity
        },
        // `RedisNamespaceManager._format_key` of `beaker/ext/redisnm.py`.
        key: Some(KeyForm {
            prefix: options.get("prefix").to_owned(),
            id: IdForm::Itself,
            suffix: ":session",
        }),
        format: Some(Pipeline::parse(&["beaker"])?),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use crate::framework::tests::{framework, id, key};
    use crate::session::id::Invalid;

    #[test]
    fn without_a_secret_the_id_stands_alone() {
        let beaker = framework("beaker", &["prefix=shop:"]);
        assert_eq!(beaker.cookies, ["beaker.session.id"]);
        assert!(!beaker.identity.scheme.needs_secret());
        let own = "dc4d832647e44f689b0dc4b07b444a86";
        assert_eq!(key(&beaker, own, &[]), format!("shop:{own}:session"));
        assert_eq!(id(&beaker, &own.to_uppercase(), &[]), Err(Invalid::Alphabet));
        assert_eq!(id(&beaker, own, &["beaker-secret"]), Err(Invalid::Unsigned));
    }
}
