//! All providers under their names, and the model that answers where nobody names one.

use std::sync::Arc;

use vivarium_domain::{Date, ModelInfo, ModelName};

use crate::config::{ConfigError, DefaultModel, EmbeddedConfig, ModelsConfig, ProviderConfig, ProviderKind};
use crate::embedded::PROVIDER;
use crate::measured::Measured;
use crate::prices::{Price, Prices};
use crate::{Anthropic, Embedded, Google, ModelError, OpenAi, Provider, catalog};

/// All providers and the default model.
#[derive(Clone)]
pub struct Models {
    providers: Vec<Arc<dyn Provider>>,
    default: ModelName,
    /// What the configuration or the vendor has as a provider's usual model.
    usual: Vec<ModelName>,
    prices: Prices,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("providers", &self.names()).field("default", &self.default).finish()
    }
}

impl Models {
    /// The providers of a configuration. Where the default is the first model that a server lists, the server is asked
    /// for it now, once, within the provider's `timeouts.list`; nothing else goes over the network.
    ///
    /// # Errors
    /// When the configuration can not be used, or that server does not list a model.
    pub async fn new(config: ModelsConfig) -> Result<Self, ConfigError> {
        let mut providers: Vec<Arc<dyn Provider>> = Vec::with_capacity(config.providers.len() + 1);
        for provider in &config.providers {
            providers.push(match provider.kind {
                ProviderKind::OpenAi => Arc::new(OpenAi::new(provider)?),
                ProviderKind::Anthropic => Arc::new(Anthropic::new(provider)?),
                ProviderKind::Google => Arc::new(Google::new(provider)?),
            });
        }
        let embedded = embedded(config.embedded.clone()).await?;
        let default = default_model(&config, &providers, &embedded).await?;
        let own = embedded.usual_model();
        providers.push(Arc::new(embedded));
        let usual = |provider: &ProviderConfig| ModelName::new(&provider.name, provider.configured_default()?);
        let usual = config.providers.iter().filter_map(usual).chain(ModelName::new(PROVIDER, own)).collect();
        let prices = Prices::new(config.prices);
        Ok(Self { usual, prices, ..Self::of(providers, default)? })
    }

    /// These providers, such as a test's own, and the embedded one, unless one of them has its name.
    ///
    /// # Errors
    /// When two have one name, or the default model's provider is not among them.
    pub fn of(mut providers: Vec<Arc<dyn Provider>>, default: ModelName) -> Result<Self, ConfigError> {
        for (place, provider) in providers.iter().enumerate() {
            let name = provider.name();
            let earlier = providers.iter().take(place).any(|earlier| earlier.name() == name);
            if earlier || name.is_empty() || name.contains('/') {
                return Err(ConfigError::ProviderName(name.to_owned()));
            }
        }
        if !providers.iter().any(|provider| provider.name() == PROVIDER) {
            providers.push(Arc::new(Embedded::default()));
        }
        let measured = |provider| Arc::new(Measured(provider)) as Arc<dyn Provider>;
        let providers = providers.into_iter().map(measured).collect();
        let usual = ModelName::new(PROVIDER, Embedded::default().usual_model()).into_iter().collect();
        let models = Self { providers, default, usual, prices: Prices::default() };
        if models.provider(models.default.provider()).is_none() {
            return Err(ConfigError::DefaultModel(models.unknown(&models.default)));
        }
        Ok(models)
    }

    /// The model that answers where none is named.
    #[must_use]
    pub fn default_model(&self) -> &ModelName {
        &self.default
    }

    /// The model that a provider is usually asked for: the default one where it is this provider's, else the one that the
    /// configuration or the vendor names. None: only the provider itself knows its models.
    #[must_use]
    pub fn usual_model(&self, provider: &str) -> Option<ModelName> {
        if self.default.provider() == provider {
            return Some(self.default.clone());
        }
        self.usual.iter().find(|model| model.provider() == provider).cloned()
    }

    /// The providers' names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.providers.iter().map(|provider| provider.name()).collect()
    }

    /// Who answers for this model, or for the default one. Whether the provider has a model of that name, it will tell.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn resolve(&self, name: Option<&ModelName>) -> Result<(Arc<dyn Provider>, ModelName), ModelError> {
        let name = name.unwrap_or(&self.default);
        match self.provider(name.provider()) {
            Some(provider) => Ok((Arc::clone(provider), name.clone())),
            None => Err(ModelError::InvalidRequest(self.unknown(name))),
        }
    }

    /// What a model costs on this day. None: it has no price.
    #[must_use]
    pub fn price(&self, model: &ModelName, on: Date) -> Option<Price> {
        self.prices.of(model, on)
    }

    /// What a model can do. Makes no request.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn describe(&self, name: &ModelName) -> Result<ModelInfo, ModelError> {
        self.resolve(Some(name)).map(|(provider, name)| provider.describe(name.model()))
    }

    fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|provider| provider.name() == name)
    }

    fn unknown(&self, name: &ModelName) -> String {
        let provider = name.provider();
        let known = self.names().join(", ");
        let hint = match ProviderKind::ALL.into_iter().find(|kind| kind.name() == provider) {
            Some(kind) => format!("; set {} to have {provider}", kind.key_variable()),
            None => String::new(),
        };
        format!("{name} needs the provider {provider:?}, and there is none of that name (there are: {known}){hint}")
    }
}

/// The embedded models. Reading weights takes a moment.
async fn embedded(config: EmbeddedConfig) -> Result<Embedded, ConfigError> {
    let Some(file) = config.weights else { return Ok(Embedded::default()) };
    let loaded = tokio::task::spawn_blocking(move || Embedded::with_weights(&file, config.timeouts)).await;
    loaded.map_err(|error| error.to_string()).flatten().map_err(ConfigError::Weights)
}

async fn default_model(
    config: &ModelsConfig,
    providers: &[Arc<dyn Provider>],
    embedded: &Embedded,
) -> Result<ModelName, ConfigError> {
    let name = |provider: &str, model: &str| {
        ModelName::new(provider, model).ok_or_else(|| ConfigError::DefaultModel(format!("{provider}/{model}")))
    };
    let provider = match &config.default {
        DefaultModel::Named(name) => return Ok(name.clone()),
        DefaultModel::Embedded => return name(PROVIDER, embedded.usual_model()),
        DefaultModel::Of(provider) => provider,
    };
    let configured = config.providers.iter().zip(providers).find(|(config, _)| config.name == *provider);
    let Some((config, provider)) = configured else {
        return Err(ConfigError::DefaultModel(format!("there is no provider {provider:?}")));
    };
    match config.configured_default() {
        Some(model) => name(&config.name, model),
        None => name(&config.name, &first_listed(config, provider.as_ref()).await?),
    }
}

/// The first model that a server lists, passing over those that by their names answer in no text.
async fn first_listed(config: &ProviderConfig, provider: &dyn Provider) -> Result<String, ConfigError> {
    let fail = |why: String| {
        let place = config.endpoint().map_or_else(|_| config.name.clone(), |url| url.to_string());
        ConfigError::NoModelListed { place, why }
    };
    let listed = provider.models().await.map_err(|error| fail(error.to_string()))?;
    let speaks = listed.iter().find(|model| catalog::answers_in_text(model));
    speaks.or(listed.first()).cloned().ok_or_else(|| fail("it lists none".to_owned()))
}
