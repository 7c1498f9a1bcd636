//! Symfony with its `RedisSessionHandler`.

#![forbid(unsafe_code)]

use super::php;
use super::{member, Framework, Options, Refresh, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::key::KeyForm;

pub(super) const ROW: Row =
    Row { names: &["symfony"], options: &[("prefix", "sf_s"), ("firewall", "main")], build };

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    Ok(Framework {
        cookies: vec![php::COOKIE.to_owned()],
        identity: php::IDENTITY,
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["auto"])?),
        user: Some(user(options.get("firewall"))?),
        // `session.gc_maxlifetime`, which each request sets anew, that of a reader too.
        refresh: Some(Refresh::Fixed(1_440_000)),
        ..Framework::plain(options.framework)
    })
}

/// Where the user stands in a token. A token is, by `__serialize`, an array: in its first or third place what
/// `AbstractToken` makes of itself, the user foremost. The first are `PostAuthenticationToken`, the others
/// `UsernamePasswordToken`, `RememberMeToken` and `PreAuthenticatedToken`, and `SwitchUserToken` around one.
const USERS: [&str; 3] = ["/1/0", "/2/0", "/2/2/0"];

/// What a user is called by: `InMemoryUser` and most classes of applications have the first, those that
/// `make:user` writes the second.
const NAMES: [&str; 3] = ["/username", "/email", "/id"];

/// The token is a text that `ContextListener` serialised. Never the user object itself: it may hold the hash of
/// a password.
fn user(firewall: &str) -> Result<User, ConfigError> {
    let token =
        Pointer::parse("/_sf2_attributes")?.join(&member(&format!("_security_{firewall}"))?);
    let format = Pipeline::parse(&["php_serialize"])?;
    let inside = |pointer| Ok(User::inside(token.clone(), format.clone(), pointer));
    // An array of the application's own in place of a token.
    let mut user = inside(Pointer::parse("/user/id")?)?;
    for at in USERS.iter().rev() {
        for name in NAMES.iter().rev() {
            user = inside(Pointer::parse(at)?.join(&Pointer::parse(name)?))?.or(user);
        }
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::framework::tests::{framework, key, refused};

    /// What `@user` is where this is the token of the firewall `main`.
    fn of(token: &str, options: &[&str]) -> Option<String> {
        let session = json!({ "_sf2_attributes": { "_security_main": token } });
        framework("symfony", options).user.unwrap().text(&session)
    }

    fn text(text: &str) -> String {
        format!("s:{}:\"{text}\";", text.len())
    }

    fn object(class: &str, members: &[(&str, &str)]) -> String {
        let inside: String = members.iter().flat_map(|(name, value)| [*name, *value]).collect();
        format!("O:{}:\"{class}\":{}:{{{inside}}}", class.len(), members.len())
    }

    fn list(values: &[&str]) -> String {
        let inside: String =
            (0..).zip(values).map(|(at, value)| format!("i:{at};{value}")).collect();
        format!("a:{}:{{{inside}}}", values.len())
    }

    /// A token that serialises to these values.
    fn token(class: &str, values: &[&str]) -> String {
        list(values).replacen("a:", &format!("O:{}:\"{class}\":", class.len()), 1)
    }

    /// What `AbstractToken` makes of itself.
    fn parent(user: &str) -> String {
        list(&[user, "b:1;", "N;", "a:0:{}", "a:0:{}"])
    }

    /// A user as `make:user` writes its class.
    fn entity() -> String {
        object(
            "App\\Entity\\User",
            &[
                (&text("\0App\\Entity\\User\0id"), "i:42;"),
                (&text("\0App\\Entity\\User\0email"), &text("alice@example.com")),
                (&text("\0App\\Entity\\User\0password"), &text("$2y$13$abc")),
            ],
        )
    }

    #[test]
    fn keys() {
        let symfony = framework("symfony", &["prefix=shop_"]);
        assert_eq!(symfony.cookies, ["PHPSESSID"]);
        assert_eq!(
            key(&symfony, "hnglsvd9884b31f47f3nqe5scf", &[]),
            "shop_hnglsvd9884b31f47f3nqe5scf"
        );
        assert_eq!(
            refused(&["symfony", "firewal=api"]),
            "unknown option of framework \"symfony\" \"firewal\"; did you mean \"firewall\"? known: firewall, prefix"
        );
    }

    #[test]
    fn the_user_of_every_token() {
        let (main, parent) = (text("main"), parent(&entity()));
        let password = ["N;", &main, &parent];
        for token in [
            token("PostAuthenticationToken", &[&main, &parent]),
            token("UsernamePasswordToken", &password),
            token("RememberMeToken", &[&text("secret"), &main, &parent]),
            token(
                "SwitchUserToken",
                &[&token("UsernamePasswordToken", &password), &text("/admin"), &list(&password)],
            ),
        ] {
            assert_eq!(of(&token, &[]).unwrap(), "alice@example.com", "{token}");
        }
    }

    #[test]
    fn what_a_user_is_called_by() {
        let class = "Symfony\\Component\\Security\\Core\\User\\InMemoryUser";
        let username = format!("\0{class}\0username");
        let in_memory = object(class, &[(&text(&username), &text("alice"))]);
        let numbered = object("App\\User", &[(&text("id"), "i:42;")]);
        let nameless = object("App\\User", &[(&text("password"), &text("$2y$13$abc"))]);
        let of = |user: &str| of(&token("T", &["N;", &text("main"), &parent(user)]), &[]);
        assert_eq!(of(&in_memory).unwrap(), "alice");
        assert_eq!(of(&numbered).unwrap(), "42");
        assert_eq!(of(&nameless), None);
    }

    #[test]
    fn an_array_in_place_of_a_token() {
        let token = "a:1:{s:4:\"user\";a:1:{s:2:\"id\";i:1001;}}";
        assert_eq!(of(token, &[]).unwrap(), "1001");
        assert_eq!(of(token, &["firewall=api"]), None);
        assert_eq!(of("", &[]), None);
    }
}
