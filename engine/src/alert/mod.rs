//! Alerts: what is said ([`message`]), how it reads ([`render`]) and how it is delivered.
//!
//! A [`Notifier`] delivers one [`AlertMessage`] to one place. Delivery is at least once: a message keeps
//! its id over every attempt, so that the receiving side can recognise a repetition. What is to be
//! delivered, and whether it was, is the caller's book-keeping; a notifier remembers nothing.

pub mod email;
pub mod event;
mod format;
pub mod mark;
pub mod message;
pub mod outbox;
mod template;
pub mod webhook;
pub(crate) mod wire;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

pub use self::{
    message::{AlertMessage, BinShare, Breach},
    template::{Rendered, render},
};
use crate::config::NotifierConfig;
pub use crate::delivery::{DeliveryError, Receipt, RetryPolicy};

/// One place that alerts are delivered to.
#[async_trait]
pub trait Notifier: Debug + Send + Sync {
    /// The name that the configuration gives it.
    fn name(&self) -> &str;

    /// Delivers one message, with a few short retries where they can help.
    ///
    /// # Errors
    /// The last attempt's error. The message may have arrived all the same (a connection can break
    /// after the receiver took it), so a later call can repeat it, with the same id.
    async fn notify(&self, message: &AlertMessage) -> Result<Receipt, DeliveryError>;

    /// Reaches the receiver, and logs in where there is a login, without delivering anything.
    /// Answers one line for people.
    ///
    /// # Errors
    /// What stands in the way of a delivery.
    async fn check(&self) -> Result<String, DeliveryError>;
}

/// The notifier that a configuration describes. Nothing is reached yet.
///
/// # Errors
/// A `ca_file` that cannot be read, a header or an address that cannot be used.
pub fn build(config: &NotifierConfig) -> Result<Arc<dyn Notifier>, DeliveryError> {
    Ok(match config {
        NotifierConfig::Email(config) => Arc::new(email::EmailNotifier::new(config.clone())?),
        NotifierConfig::Webhook(config) => Arc::new(webhook::WebhookNotifier::new(config.clone())?),
    })
}
