//! Clients of Elastic Load Balancing v2: one for each region and role, made on first use.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_elasticloadbalancingv2::{Client, Config};
use tokio::sync::Mutex;

use crate::alb::Role;
use crate::alb::kept::Kept;

/// The SDK sets none of these by itself, and a host never gives up on a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);

#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Instead of what the environment says.
    given: Option<SdkConfig>,
    /// By region and role. A client holds the credentials of its role, and has them renewed.
    made: Mutex<Kept<(String, Option<Role>), Client>>,
}

impl Clients {
    pub(super) fn with_config(config: SdkConfig) -> Self {
        Self { given: Some(config), made: Mutex::default() }
    }

    pub(super) async fn client(&self, region: &str, role: Option<&Role>) -> Arc<Client> {
        let place = (region.to_owned(), role.cloned());
        let mut made = self.made.lock().await;
        if let Some(client) = made.get(&place) {
            return client;
        }
        // Loading reads files at most: credentials are looked up when the first call needs them.
        let config = self.config(region).await;
        let mut builder = Config::from(&config).to_builder();
        if let Some(role) = role {
            builder.set_credentials_provider(Some(assume(role, &config).await));
        }
        // One attempt a call: whoever calls tries again, for a new token of the account's budget (`Shared`). The calls for
        // credentials keep the SDK's own retries.
        let config = builder.retry_config(RetryConfig::disabled()).build();
        made.put(place, Client::from_conf(config))
    }

    async fn config(&self, region: &str) -> SdkConfig {
        let region = Region::new(region.to_owned());
        let config = match &self.given {
            Some(given) => given.to_builder().region(region).build(),
            None => aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region).load().await,
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT);
        let mut config = config.into_builder().timeout_config(timeouts.build());
        // CloudTrail shows the name as `app/rollouts-plugin-trafficrouter-alb`.
        if let Ok(name) = AppName::new(env!("CARGO_PKG_NAME")) {
            config = config.app_name(name);
        }
        config.build()
    }
}

/// The credentials of a role, which those of the process are exchanged for. CloudTrail shows the session's name.
async fn assume(role: &Role, config: &SdkConfig) -> SharedCredentialsProvider {
    let mut provider = AssumeRoleProvider::builder(&role.arn).session_name(env!("CARGO_PKG_NAME")).configure(config);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    if let Some(region) = &role.region {
        provider = provider.region(Region::new(region.clone()));
    }
    SharedCredentialsProvider::new(provider.build().await)
}
