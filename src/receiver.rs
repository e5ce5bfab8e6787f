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

use crate::controller::{Context, run};
use crate::forward::Forwarder;
use handle::Handler;
use reconciler::ReceiverController;
use routes::Routes;

/// The receivers and their routes.
pub struct Receivers {
    context: Context,
    routes: Routes,
}

impl Receivers {
    /// No route is known yet.
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), routes: Routes::default() }
    }

    /// The server that has to be run; while another operator leads, that one gets the webhooks.
    pub fn server(&self, listener: TcpListener, forwarder: Forwarder) -> Server {
        let handler = Handler::new(self.context.clone(), self.routes.clone());
        Server::new(listener, handler, self.opening(), forwarder, Limits::default())
    }

    /// What the server waits for before it answers.
    pub fn opening(&self) -> Opening {
        Opening::of(self.context.clone(), self.routes.clone())
    }

    /// Starts the controller, without which no path is known.
    pub fn start(self, controllers: &mut JoinSet<&'static str>) {
        let Self { context, routes } = self;
        let controller = ReceiverController::new(context.clone(), routes);
        let (cache, triggers) = (context.caches.receivers.clone(), controller.triggers());
        controllers.spawn(async move {
            run(context, cache, controller, triggers, 1).await;
            "the Receiver controller"
        });
    }
}
