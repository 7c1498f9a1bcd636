//! Go's gofiber, version 3, with its session middleware and a storage of Redis or memcached.

#![forbid(unsafe_code)]

use super::{Framework, Options, Refresh, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::id::IdRule;
use crate::session::identity::Identity;
use crate::session::key::KeyForm;

pub(super) const ROW: Row =
    Row { names: &["fiber"], options: &[("prefix", ""), ("name", "session_id")], build };

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec![options.get("name").to_owned()],
        // fasthttp takes the first of a name, takes off quotes and decodes nothing.
        identity: Identity {
            url_decode: false,
            // `SecureToken`, or a UUID as the key generator often is. Exact, since it is the whole key.
            rule: IdRule::new("A-Za-z0-9_-", 36, 43),
            ..plain.identity
        },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["gob"])?),
        // `IdleTimeout`, which each request that went through the middleware sets anew.
        refresh: Some(Refresh::Fixed(1_800_000)),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use crate::framework::tests::{framework, id, key};
    use crate::session::id::Invalid;

    const ID: &str = "Zr3mR4Jq8pQe0HhYc1uVwK2sT5xN7aB9dF6gL_iO-kM";

    #[test]
    fn a_key_is_the_id_itself() {
        let fiber = framework("fiber", &[]);
        assert_eq!(fiber.cookies, ["session_id"]);
        assert_eq!(key(&fiber, ID, &[]), ID);
        assert_eq!(key(&fiber, &format!("\"{ID}\""), &[]), ID);
        let shop = framework("fiber", &["prefix=shop:", "name=sid"]);
        assert_eq!(shop.cookies, ["sid"]);
        let uuid = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
        assert_eq!(key(&shop, uuid, &[]), format!("shop:{uuid}"));
    }

    #[test]
    fn what_is_another_key() {
        let fiber = framework("fiber", &[]);
        for (value, reason) in [
            ("config", Invalid::Short),
            ("Zr3mR4Jq8pQe0HhYc1uVwK2sT5xN7aB9dF6gL_iO%2DkM", Invalid::Long),
            ("Zr3mR4Jq8pQe0HhYc1uVwK2sT5xN7aB9dF6gL:iO-kM", Invalid::Alphabet),
        ] {
            assert_eq!(id(&fiber, value, &[]), Err(reason), "{value}");
        }
    }
}
