//! A node that registers itself.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};

use super::{heartbeat::Heartbeat, pace::Pace};
use crate::{
    authenticator::Authenticator,
    lifecycle::ApiTokens,
    random::SystemEntropy,
    store::{
        FleetSettings, NodeId, NodeRegistry, NodeReport, RegistryLogs, StoreError, StoreErrorKind,
        catch_panic,
    },
};

/// The timeout of each report.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// A builder for a [`FleetMember`].
///
/// Created by [`ApiTokens::join_fleet`] and [`Authenticator::join_fleet`].
#[must_use = "a node registers only when it is started"]
pub struct FleetMemberBuilder {
    authenticator: Authenticator,
    registry: Arc<dyn NodeRegistry>,
    name: String,
    version: String,
}

impl FleetMemberBuilder {
    pub(crate) fn new(authenticator: Authenticator, registry: Arc<dyn NodeRegistry>) -> Self {
        Self {
            authenticator,
            registry,
            name: String::new(),
            version: String::new(),
        }
    }

    /// Sets the name under which the node is listed, such as that of its machine. Defaults to none.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the version of the program. Defaults to none.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Registers the node, and starts to report the changes that it applies.
    ///
    /// Call it before the follower starts and before the first token is verified: what this process has
    /// cached earlier could be older than a change that is then known to have reached all nodes.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or has no registry of nodes. Returns an error of the kind
    /// [`InvalidSettings`](StoreErrorKind::InvalidSettings) if the authenticator is already followed, or if
    /// its [`max_staleness`](crate::AuthenticatorBuilder::max_staleness) is longer than the maximum of the
    /// fleet.
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime.
    pub async fn start(self) -> Result<FleetMember, StoreError> {
        let Self {
            authenticator,
            registry,
            name,
            version,
        } = self;
        let applied = authenticator.applied();
        if applied.borrow().is_some() {
            return Err(StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                "the follower is already running; join the fleet before you start it",
            ));
        }
        let id = NodeId::generate(authenticator.clock().now(), &SystemEntropy);
        let id = id.map_err(StoreError::unavailable)?;
        let report = NodeReport::new(id, &name, &version, authenticator.max_staleness());
        let report = report.interval(Pace::of(0).idle);
        let state = within(catch_panic(|| registry.report(&report))).await?;
        if let Err(error) = check_bound(&authenticator, &state.settings) {
            drop(within(catch_panic(|| registry.remove_node(id))).await);
            return Err(error);
        }
        let heartbeat = Heartbeat {
            registry: Arc::clone(&registry),
            authenticator,
            applied,
            report,
        };
        Ok(FleetMember {
            id,
            registry,
            task: tokio::spawn(heartbeat.run(state)),
        })
    }
}

impl fmt::Debug for FleetMemberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetMemberBuilder")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The registration of this process as a node of the fleet.
///
/// It reports the revision up to which this process has applied all changes: about once a second while there
/// are changes, and less often in a large fleet, so that all nodes together make at most fifty reports a
/// second. Without changes it reports a tenth as often.
///
/// Dropping it stops the reports, and the node is then listed as gone. Call [`leave`](Self::leave) instead when
/// the process shuts down.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let member = tokens.join_fleet().name("web-1").start().await?;
/// let follower = tokens.follow().start().await?;
/// // Serve, until it is time to shut down.
/// follower.stop().await?;
/// member.leave().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a node that is dropped is listed as gone"]
pub struct FleetMember {
    id: NodeId,
    registry: Arc<dyn NodeRegistry>,
    task: JoinHandle<()>,
}

impl FleetMember {
    /// Returns the identifier of this node. It is a new one each time a process starts.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Removes the registration. Call it when this process verifies no more tokens: from then on, a change can
    /// be known to have reached all nodes although this one has not applied it.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails. The node is then listed as gone.
    pub async fn leave(mut self) -> Result<(), StoreError> {
        self.task.abort();
        // A report in progress would register the node again.
        let _ = (&mut self.task).await;
        within(catch_panic(|| self.registry.remove_node(self.id)))
            .await
            .map(drop)
    }
}

impl Drop for FleetMember {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Authenticator {
    /// Returns a builder for the registration of this process as a node of the fleet, in the store that it
    /// looks tokens up in.
    ///
    /// Only nodes that look up tokens and read the change log on the primary should register. A standby may lag
    /// behind what the node has applied.
    pub fn join_fleet(&self, registry: impl NodeRegistry) -> FleetMemberBuilder {
        FleetMemberBuilder::new(self.clone(), Arc::new(registry))
    }

    /// Checks that the [`max_staleness`](crate::AuthenticatorBuilder::max_staleness) of this process is not
    /// longer than the maximum of the fleet, and that nodes need not [register](field@FleetSettings::all_registered).
    /// Call it at the start of a node that does not register, such as one that can only read the store.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`InvalidSettings`](StoreErrorKind::InvalidSettings) if the bound is longer, or
    /// if the fleet declares that every node registers. Also returns an error if the store fails.
    pub async fn check_fleet_bound(&self, registry: &dyn NodeRegistry) -> Result<(), StoreError> {
        let state = within(catch_panic(|| registry.fleet())).await?;
        check_bound(self, &state.settings)?;
        check_unregistered(&state.settings)
    }
}

impl ApiTokens {
    /// Returns a builder for the registration of this process as a node of the fleet. See
    /// [`Authenticator::join_fleet`].
    pub fn join_fleet(&self) -> FleetMemberBuilder {
        let registry = Arc::new(RegistryLogs(self.unlimited_registry()));
        FleetMemberBuilder::new(self.authenticator().clone(), registry)
    }
}

fn check_bound(authenticator: &Authenticator, fleet: &FleetSettings) -> Result<(), StoreError> {
    let own = authenticator.max_staleness();
    match fleet.max_staleness {
        Some(most) if own > most => Err(StoreError::with_source(
            StoreErrorKind::InvalidSettings,
            format!(
                "`max_staleness` is {own:?}, which is longer than the maximum of the fleet, {most:?}: configure a \
                 shorter one, or raise the maximum with `api-tokens nodes set --max-staleness`"
            ),
        )),
        _ => Ok(()),
    }
}

/// Checks that a node may do without a registration. Otherwise a revocation could be taken for complete without it.
fn check_unregistered(fleet: &FleetSettings) -> Result<(), StoreError> {
    match fleet.all_registered {
        true => Err(StoreError::with_source(
            StoreErrorKind::InvalidSettings,
            "the fleet declares that every node registers, and this one does not: let it register, which needs the \
             right to write to the store, or run `api-tokens nodes set --all-registered=false` first",
        )),
        false => Ok(()),
    }
}

/// Runs a call of the registry with a timeout.
pub(super) async fn within<T>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(TIMEOUT, call)
        .await
        .map_err(StoreError::unavailable)?
}
