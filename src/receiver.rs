//! Webhooks that come in: who calls is checked, and the objects that the call is about are looked
//! at at once.
//!
//! ```text
//! request ─► server ─ path ─► route ─► authenticate ─► filter ─► wake, or annotate
//!                               ▲        (pure)         (pure)
//!            Receiver, Secret ──┘ reconciler
//! ```

pub mod authenticate;
mod bucket;
pub mod filter;
mod handle;
mod objects;
mod reconciler;
mod routes;
mod server;
mod signature;
pub mod target;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[cfg(test)]
pub(crate) use signature::is_signed;

pub use server::{Limits, Opening, Server};

use crate::api::notification::v1::Receiver;
use crate::controller::{Cache, Context, run};
use handle::Handler;
use reconciler::ReceiverController;
use routes::Routes;

/// Starts the controller; gives the server that has to be run, and the cache that has to be driven.
pub fn start(
    context: &Context,
    listener: TcpListener,
    controllers: &mut JoinSet<&'static str>,
) -> (Server, Cache<Receiver>) {
    let cache = Cache::default();
    let routes = Routes::default();
    let controller = ReceiverController::new(context.clone(), cache.clone(), routes.clone());
    let (own, triggers) = (context.clone(), controller.triggers());
    let all = cache.clone();
    controllers.spawn(async move {
        run(own, all, controller, triggers, 1).await;
        "the Receiver controller"
    });
    let handler = Handler::new(context.clone(), cache.clone(), routes.clone());
    (Server::new(listener, handler, Opening::of(cache.clone(), routes), Limits::default()), cache)
}
