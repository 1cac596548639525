//! Where a command works: on the data folder, or through the server that has it.

use operone_core::error::Result;
use tokio::runtime::Handle;

use super::client::Client;
use super::wrong;
use crate::backends::assemble;
use crate::config::Config;
use crate::parts::Parts;

/// Where a command works.
pub(super) enum Place {
    /// On the data folder, which nobody else has.
    Folder(Box<Parts>),
    /// Through a running server.
    Server(Client),
}

impl Place {
    /// The data folder if it is free, else the server that listens where the configuration says.
    pub(super) async fn find(config: &Config) -> Result<Self> {
        match assemble(config, Handle::current()).await {
            Ok(parts) => Ok(Self::Folder(Box::new(parts))),
            Err(error) if error.code() == "data_folder_in_use" => {
                let client = Client::new(config.listen);
                if client.is_there().await {
                    return Ok(Self::Server(client));
                }
                Err(wrong(format!(
                    "another process has the data folder {}, and no server answers at http://{}: name its address \
                     with --listen, or stop it",
                    config.data.display(),
                    config.listen
                )))
            }
            Err(error) => Err(error),
        }
    }
}
