//! What is known of one request's session.

use core::cell::{Cell, RefCell};
use core::ptr::{self, NonNull};
use std::rc::Rc;
use std::time::Duration;

use nginx_sys::ngx_str_t;
use ngx::http::HttpModule;
use smallvec::SmallVec;

use super::client::Client;
use super::event::time_of_day;
use super::held::Held;
use super::identify::find;
use super::lookup::{Query, Ticket};
use super::plan::{KeyRule, Plan};
use super::pool;
use super::request::{Header, Request};
use super::SessionRedis;
use crate::cache::CacheStatus;
use crate::format::Undecodable;
use crate::policy::Status;
use crate::route::assignment::Standing;
use crate::session::id::SessionId;
use crate::stored::{Excerpt, KeptSession, Read, Stored};

/// How far the request has come in the location that it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was done here yet.
    New,
    /// A lookup is under way.
    Waiting,
    /// The outcome is known, headers are set.
    Settled,
}

/// Lives in the pool of the client's request; internal redirects keep it. Subrequests see it, but for those that are
/// judged by the requirements of their own location: each has a context of its own. Where the client goes away it is
/// dropped, and with it the ticket of a lookup under way, which then does not come back to the request.
pub(super) struct Context {
    is_of_subrequest: bool,
    pub(super) progress: Cell<Progress>,
    pub(super) status: Cell<Status>,
    /// The plan that was followed last.
    pub(super) plan: RefCell<Option<Rc<Plan>>>,
    pub(super) id: RefCell<Option<SessionId>>,
    pub(super) key: RefCell<Option<Rc<[u8]>>>,
    /// The key of the session's assignment, where the plan learns.
    pub(super) route_key: RefCell<Option<Rc<[u8]>>>,
    pub(super) lookup: RefCell<Option<Ticket>>,
    pub(super) result: RefCell<Option<LookedUp>>,
    /// The peer may send the headers that we would set.
    pub(super) trusted: Cell<bool>,
    /// The client's request, or one of its subrequests, names a visitor: in some location that looked it had an id, good or bad, or was to be remembered.
    pub(super) named: Cell<bool>,
    /// The headers that were set, which hold in this location only.
    pub(super) injected: RefCell<SmallVec<[Header; 2]>>,
    /// The `Cookie` headers of a request some of whose cookies were hidden from this location's backend.
    pub(super) hidden: RefCell<Option<Vec<ngx_str_t>>>,
    /// Headers of the answer by which the request was refused, which another module may admit.
    pub(super) refusal: RefCell<SmallVec<[Header; 2]>>,
    pub(super) touched: Cell<bool>,
    /// Whether a hash is asked for, or a string.
    pub(super) asks_hash: Cell<bool>,
    /// What the near-cache had to do with the outcome.
    pub(super) cached: Cell<Option<CacheStatus>>,
    /// Strings and hashes were both asked for.
    pub(super) asked_again: Cell<bool>,
    /// The server that the session belongs to was down when it was to have this request.
    pub(super) displaced: Cell<bool>,
    /// The response that waits for its session's assignment.
    pub(super) held: RefCell<Option<Held>>,
}

/// The outcome of a lookup, and by what it was found: where these are equal it is good again.
#[derive(Clone)]
pub(super) struct LookedUp {
    pub(super) plan: Rc<Plan>,
    pub(super) key: Rc<[u8]>,
    pub(super) status: Status,
    pub(super) kept: Option<Rc<KeptSession>>,
    /// In ms; none where the key has no end or it was not asked for.
    pub(super) ttl: Option<u64>,
    /// What stood as the session's assignment, and the key that it was asked for with.
    pub(super) route: Standing,
    pub(super) route_key: Option<Rc<[u8]>>,
    pub(super) server: Option<usize>,
    pub(super) elapsed: Duration,
}

impl Context {
    fn new(is_of_subrequest: bool) -> Self {
        Self {
            is_of_subrequest,
            progress: Cell::new(Progress::New),
            status: Cell::new(Status::Pending),
            plan: RefCell::new(None),
            id: RefCell::new(None),
            key: RefCell::default(),
            route_key: RefCell::default(),
            lookup: RefCell::new(None),
            result: RefCell::new(None),
            trusted: Cell::new(false),
            named: Cell::new(false),
            injected: RefCell::default(),
            hidden: RefCell::new(None),
            refusal: RefCell::default(),
            touched: Cell::new(false),
            asks_hash: Cell::new(false),
            cached: Cell::new(None),
            asked_again: Cell::new(false),
            displaced: Cell::new(false),
            held: RefCell::new(None),
        }
    }

    /// The request whose session counts for `r`: a subrequest that has a context of its own, else the client's.
    pub(super) fn subject(r: Request) -> Request {
        // SAFETY: a slot is live as long as its request.
        let has_own = || slot(r).is_some_and(|slot| unsafe { !(*slot).is_null() });
        if r.is_main() || has_own() {
            r
        } else {
            r.main()
        }
    }

    /// The context of the request's [`Self::subject`].
    pub(super) fn of<'a>(r: Request) -> Option<&'a Self> {
        let subject = Self::subject(r);
        let slot = slot(subject)?;
        // SAFETY: the slot holds null or what `make` put there; the pool is live, and references to a context are
        // shared ones only, kept no longer than the request. An internal redirect clears the slot of the client's
        // request, but the context stays in the pool.
        unsafe {
            if (*slot).is_null() {
                let of_client = |context: &Self| !context.is_of_subrequest;
                *slot = pool::find(subject.pool(), of_client)?.as_ptr().cast();
            }
            (*slot).cast::<Self>().as_ref()
        }
    }

    /// As `of`, made if need be. None: out of memory.
    pub(super) fn create<'a>(r: Request) -> Option<&'a Self> {
        Self::of(r).or_else(|| Self::make(r.main()))
    }

    /// The subrequest's own context, made if need be; the outcome of the client's request may be good for it too.
    /// None: out of memory.
    pub(super) fn create_own<'a>(r: Request) -> Option<&'a Self> {
        if Self::subject(r) == r {
            return Self::of(r);
        }
        let outcome = Self::of(r).and_then(|of_client| of_client.result.borrow().clone());
        let own = Self::make(r)?;
        own.result.replace(outcome);
        Some(own)
    }

    fn make<'a>(r: Request) -> Option<&'a Self> {
        // SAFETY: the pool is live, subrequests share that of the client's request; the context is not used beyond it.
        unsafe {
            let context = pool::give(r.pool(), Self::new(!r.is_main()))?;
            *slot(r)? = context.as_ptr().cast();
            Some(context.as_ref())
        }
    }

    /// Hands on the session as the plan reads it. None where none was found, or another than the plan's.
    pub(super) fn with_session<T>(
        &self,
        r: Request,
        plan: &Plan,
        read: impl FnOnce(&Excerpt) -> T,
    ) -> Option<T> {
        let kept = self.with_result(r, plan, |result| {
            let may_be_read = result.status == Status::Found || result.plan.decoder != plan.decoder;
            result.kept.clone().filter(|_| may_be_read)
        })?;
        let excerpt = excerpt(&kept, plan).ok().flatten();
        let answer = excerpt.map(|excerpt| read(&excerpt));
        if let Some(found) = &*self.result.borrow() {
            found.weigh();
        }
        answer
    }

    /// Hands on the outcome of the lookup where it is that of the plan's session: a subrequest, and until its own
    /// lookup a request that was redirected, have the outcome of another location.
    pub(super) fn with_result<T>(
        &self,
        r: Request,
        plan: &Plan,
        read: impl FnOnce(&LookedUp) -> Option<T>,
    ) -> Option<T> {
        let result = self.result.borrow();
        let result = result.as_ref()?;
        let is_own = result.is_of_store(plan) && self.key(r, plan).as_ref() == Some(&result.key);
        is_own.then(|| read(result))?
    }

    /// The id that the request has by this plan.
    pub(super) fn id(&self, r: Request, plan: &Plan) -> Option<SessionId> {
        let followed = self.plan.borrow();
        let followed = followed.as_ref()?;
        match ptr::eq(&**followed, plan) || followed.finds_ids_as(plan) {
            true => self.id.borrow().clone(),
            false => find(r, plan),
        }
    }

    /// The key of the session that the request has by this plan.
    pub(super) fn key(&self, r: Request, plan: &Plan) -> Option<Rc<[u8]>> {
        if self.follows(plan) {
            return self.key.borrow().clone();
        }
        derive_key(r, plan, &self.id(r, plan)?)
    }

    /// The outcome, as the plan reads what was found.
    pub(super) fn status(&self, r: Request, plan: &Plan) -> Status {
        let status = self.status.get();
        if self.follows(plan) {
            return status;
        }
        match status {
            Status::Off | Status::Pending => Status::Pending,
            Status::None | Status::Invalid => {
                let followed = self.plan.borrow();
                let same = followed.as_ref().is_some_and(|followed| followed.finds_ids_as(plan));
                if same {
                    status
                } else {
                    Status::Pending
                }
            }
            _ => {
                let judged = self.with_result(r, plan, |result| {
                    let status = result.judged(plan);
                    result.weigh();
                    Some(status)
                });
                judged.unwrap_or(Status::Pending)
            }
        }
    }

    /// Whether this plan was followed last.
    pub(super) fn follows(&self, plan: &Plan) -> bool {
        self.plan.borrow().as_ref().is_some_and(|followed| ptr::eq(&**followed, plan))
    }

    /// Whether the outcome at hand is that of a lookup by this plan.
    pub(super) fn is_answered(&self, plan: &Plan) -> bool {
        self.result.borrow().as_ref().is_some_and(|result| {
            result.is_of_store(plan)
                && Some(&result.key) == self.key.borrow().as_ref()
                && (self.route_key.borrow().is_none()
                    || result.route_key == *self.route_key.borrow())
                && result.plan.decoder == plan.decoder
                && (result.plan.needs().ttl || !plan.needs().ttl)
        })
    }

    /// Whether a lookup has its answer, with which the request is to go on.
    pub(super) fn is_resumed(&self) -> bool {
        let is_answered =
            |lookup: &Option<Ticket>| lookup.as_ref().is_some_and(|it| it.answer().is_some());
        self.progress.get() == Progress::Waiting && is_answered(&self.lookup.borrow())
    }

    /// Asks the store. Whether the answer is there already.
    pub(super) fn ask(&self, client: &'static Client, query: Query) -> bool {
        let (ticket, cached) = client.ask(query);
        self.cached.set(Some(cached));
        let is_done = ticket.answer().is_some();
        self.lookup.replace(Some(ticket));
        is_done
    }

    /// Follows a plan from its beginning, with an outcome kept that may be good again.
    pub(super) fn begin(&self, plan: &Rc<Plan>) {
        *self.plan.borrow_mut() = Some(Rc::clone(plan));
        *self.id.borrow_mut() = None;
        self.status.set(Status::Pending);
        self.asks_hash.set(plan.hash.get());
        self.asked_again.set(false);
        self.cached.set(None);
        *self.key.borrow_mut() = None;
        *self.route_key.borrow_mut() = None;
        self.displaced.set(false);
    }
}

impl LookedUp {
    fn is_of_store(&self, plan: &Plan) -> bool {
        let stores = plan.store.as_ref().zip(self.plan.store.as_ref());
        stores.is_some_and(|(store, other)| Rc::ptr_eq(store, other))
    }

    /// What the plan reads of the session. `None`: it has ended, though it is stored.
    pub(super) fn read(&self, plan: &Plan) -> Result<Option<Read<'_>>, Undecodable> {
        self.kept.as_ref().map_or(Ok(None), |kept| excerpt(kept, plan))
    }

    /// The status by a plan that may read the session otherwise.
    fn judged(&self, plan: &Plan) -> Status {
        if self.kept.is_none() || self.plan.decoder == plan.decoder {
            return self.status;
        }
        match self.read(plan) {
            Ok(Some(_)) => Status::Found,
            Ok(None) => Status::Missing,
            Err(_) => Status::Undecodable,
        }
    }

    /// What was read of the session for the first time is kept with it, and counts.
    pub(super) fn weigh(&self) {
        if self.kept.as_ref().is_some_and(|kept| kept.has_grown()) {
            if let Some(cache) = self.plan.near_cache() {
                cache.weigh(&self.key);
            }
        }
    }
}

/// What a plan reads of a session, by its own decoder whoever has looked it up. `None`: it has ended, though it is stored.
fn excerpt<'k>(kept: &'k KeptSession, plan: &Plan) -> Result<Option<Read<'k>>, Undecodable> {
    let decode = |stored: &Stored| plan.decoder.decode(stored, plan.wanted());
    let excerpt = kept.excerpt(plan.name(), decode)?;
    if kept.is_growing() && plan.near_cache().is_some() {
        excerpt.count(plan.wanted());
    }
    Ok((!excerpt.session.is_over(time_of_day())).then_some(excerpt))
}

/// The plan's key of an id. None: out of memory, what the digest cannot encode, or what no key of the store can be.
pub(super) fn derive_key(r: Request, plan: &Plan, id: &SessionId) -> Option<Rc<[u8]>> {
    made_key(r, plan, id).filter(|key| plan.is_key(key))
}

fn made_key(r: Request, plan: &Plan, id: &SessionId) -> Option<Rc<[u8]>> {
    match &plan.key {
        KeyRule::Form(form, _) => Some(form.key(id)),
        KeyRule::Template(rule) => {
            let rule = rule.value()?;
            let text = rule.template.evaluate(r)?;
            Some(match rule.digest {
                Some(digest) => Rc::from(digest.hex(text).as_bytes()),
                None => Rc::from(text),
            })
        }
        KeyRule::None => None,
    }
}

/// nginx's slot for the module's context.
fn slot(r: Request) -> Option<*mut *mut core::ffi::c_void> {
    let index = SessionRedis::module().ctx_index;
    // SAFETY: a request has a slot for each HTTP module.
    NonNull::new(r.raw().ctx).map(|slots| unsafe { slots.as_ptr().add(index) })
}
