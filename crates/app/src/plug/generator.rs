//! A model behind an OpenAI-compatible endpoint, for the agent layer.

use std::{
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use sextant_agent::{Completion, Generator, GeneratorConfig, Message, Role};
use sextant_core::{Cancel, Failure};
use sextant_serve::{ApiKey, ChatMessage, Timeouts, Upstream, UpstreamOptions};

use crate::AppError;

/// How long a probe waits for a connection.
const PROBE: Duration = Duration::from_secs(3);

struct Endpoint {
    upstream: Upstream,
    runtime: tokio::runtime::Runtime,
}

/// The generator that a serving configuration names.
pub fn generator(config: &GeneratorConfig) -> Result<Arc<dyn Generator>, Failure> {
    let upstream = Upstream::new(UpstreamOptions {
        base_url: config.base_url.clone(),
        model: config.model.clone(),
        api_key: config.api_key_env.clone().map_or(ApiKey::None, ApiKey::Env),
        temperature: config.temperature,
        max_tokens: config.max_tokens,
        timeouts: Timeouts { total: Duration::from_secs(config.timeout_s), ..Timeouts::default() },
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("generator")
        .enable_all()
        .build()
        .map_err(AppError::io("start the client of", &config.base_url))?;
    Ok(Arc::new(Endpoint { upstream, runtime }))
}

impl Generator for Endpoint {
    fn complete(
        &self,
        messages: &[Message],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<Completion, Failure> {
        let messages: Vec<ChatMessage> = messages
            .iter()
            .map(|message| ChatMessage {
                role: match message.role {
                    Role::System => "system",
                    Role::User => "user",
                    Role::Assistant => "assistant",
                }
                .to_owned(),
                content: message.content.clone(),
            })
            .collect();
        let handle = self.runtime.handle();
        let done = self.upstream.complete_blocking(handle, &messages, cancel, on_delta)?;
        Ok(Completion {
            text: done.text,
            model: done.model,
            prompt_tokens: done.prompt_tokens,
            completion_tokens: done.completion_tokens,
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Dropping a runtime waits for its tasks, which panics inside another runtime.
        let spare = tokio::runtime::Builder::new_current_thread().build();
        if let Ok(spare) = spare {
            std::mem::replace(&mut self.runtime, spare).shutdown_background();
        }
    }
}

/// Opens a connection to the endpoint and closes it again.
pub fn probe(config: &GeneratorConfig) -> Result<(), Failure> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", config.base_url));
    let (scheme, rest) =
        config.base_url.split_once("://").ok_or_else(|| refuse("it has no scheme".to_owned()))?;
    let host = rest.split('/').next().unwrap_or(rest);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if scheme == "https" { 443 } else { 80 };
    let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    let addresses = host.to_socket_addrs().map_err(|error| refuse(error.to_string()))?;
    let mut reason = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PROBE) {
            Ok(_) => return Ok(()),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(refuse(reason).into())
}
