use std::{io::Write, sync::Arc};

use super::{LineFault, Progress};
use crate::{
    lifecycle::TokenFormats,
    random::{Entropy, SystemEntropy},
    store::TokenRegistry,
    time::{Clock, SystemClock},
};

/// The settings of an import.
pub(super) struct ImportOptions<'a> {
    pub(super) registry: &'a dyn TokenRegistry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) actor: Option<String>,
    pub(super) formats: Option<TokenFormats>,
    pub(super) stops: bool,
    pub(super) on_fault: Box<dyn FnMut(&LineFault) + Send + 'a>,
    pub(super) on_progress: Box<dyn FnMut(Progress) + Send + 'a>,
    pub(super) rejects: Option<&'a mut (dyn Write + Send)>,
}

impl<'a> ImportOptions<'a> {
    pub(super) fn new(registry: &'a dyn TokenRegistry) -> Self {
        Self {
            registry,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            actor: None,
            formats: None,
            stops: false,
            on_fault: Box::new(|_| {}),
            on_progress: Box::new(|_| {}),
            rejects: None,
        }
    }
}
