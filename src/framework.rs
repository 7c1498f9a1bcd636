//! stand-in
use crate::config::{unknown, ConfigError};
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::signature::Signing;

pub struct Framework {
    pub name: &'static str,
    pub cookies: Vec<String>,
    pub identity: Identity,
    pub key: Option<String>,
    pub format: Option<Pipeline>,
    pub user: Option<Pointer>,
    pub root: Option<Pointer>,
    pub signed: bool,
    pub refresh: Option<Refresh>,
}
#[derive(Clone)]
pub struct Refresh;
impl Refresh {
    pub fn ttl(&self, _: &serde_json::Value) -> Option<u64> {
        None
    }
    pub fn pointer(&self) -> Option<Pointer> {
        None
    }
}
impl Framework {
    pub fn parse(args: &[&str]) -> Result<Self, ConfigError> {
        let mut f = Self::raw();
        match args[0] {
            "raw" => {}
            "php" => {
                f.name = "php";
                f.cookies = vec!["PHPSESSID".into()];
                f.identity.rule = IdRule::new("A-Za-z0-9,-", 22, 256);
                f.key = Some("PHPREDIS_SESSION:".into());
                f.format = Some(Pipeline::parse(&["auto"])?);
            }
            "express" => {
                f.name = "express";
                f.cookies = vec!["connect.sid".into()];
                f.identity.signing = Signing::CookieSignature { prefix: "s:" };
                f.key = Some("sess:".into());
                f.format = Some(Pipeline::parse(&["json"])?);
                f.signed = true;
                f.user = Some(Pointer::parse("/passport/user")?);
            }
            other => return Err(unknown("framework", other, &["php", "express", "raw"])),
        }
        Ok(f)
    }
    pub fn raw() -> Self {
        Self {
            name: "raw",
            cookies: vec![],
            identity: Identity {
                pick: Pick::First,
                url_decode: true,
                signing: Signing::None,
                rule: IdRule::default(),
            },
            key: None,
            format: None,
            user: None,
            root: None,
            signed: false,
            refresh: None,
        }
    }
    pub fn cookies_beside(&self, _: &str) -> Vec<String> {
        vec![]
    }
}
