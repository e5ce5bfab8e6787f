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
use crate::forward::Forwarder;
use handle::Handler;
use reconciler::ReceiverController;
use routes::Routes;

/// The receivers, whose cache has to be driven, and their routes.
#[derive(Default)]
pub struct Receivers {
    /// All receivers.
    pub cache: Cache<Receiver>,
    routes: Routes,
}

impl Receivers {
    /// The server that has to be run; while another operator leads, that one gets the webhooks.
    pub fn server(&self, context: &Context, listener: TcpListener, forwarder: Forwarder) -> Server {
        let handler = Handler::new(context.clone(), self.cache.clone(), self.routes.clone());
        Server::new(listener, handler, self.opening(context), forwarder, Limits::default())
    }

    /// What the server waits for before it answers.
    pub fn opening(&self, context: &Context) -> Opening {
        Opening::of(context.clone(), self.cache.clone(), self.routes.clone())
    }

    /// Starts the controller, without which no path is known.
    pub fn start(self, context: &Context, controllers: &mut JoinSet<&'static str>) {
        let controller = ReceiverController::new(context.clone(), self.cache.clone(), self.routes);
        context.resources.show(&self.cache);
        let (own, triggers) = (context.clone(), controller.triggers());
        controllers.spawn(async move {
            run(own, self.cache, controller, triggers, 1).await;
            "the Receiver controller"
        });
    }
}
