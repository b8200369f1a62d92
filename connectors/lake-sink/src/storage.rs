//! The storage of the tables: S3 or compatible, or a folder.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use iceberg::io::{
    FileIO, FileIOBuilder, LocalFsStorageFactory, S3_ENDPOINT, S3_PATH_STYLE_ACCESS, S3_REGION,
    StorageFactory,
};
use iceberg_storage_opendal::{
    AwsCredential, CustomAwsCredentialLoader, OpenDalStorageFactory, ProvideCredential,
};
use reqsign_core::time::Timestamp;
use reqsign_core::{Context, ErrorKind};
use tokio::sync::Mutex;

/// Credentials that expire are requested again so long before.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// The settings of S3.
#[derive(Clone, Debug, Default)]
pub struct S3Settings {
    /// The URL of a compatible server; AWS itself by default.
    pub endpoint: Option<String>,
    /// The region; that of the AWS profile or environment by default.
    pub region: Option<String>,
    /// Puts the bucket in the path of URLs instead of the host's name.
    pub path_style: bool,
}

/// The files at `location`, which begins with `s3://` or `file://`.
pub async fn open(location: &str, s3: &S3Settings) -> FileIO {
    let (factory, properties) = factory(location, s3).await;
    FileIOBuilder::new(factory).with_props(properties).build()
}

/// The factory of the files at `location`, and its properties, for a catalog that opens files itself.
pub(crate) async fn factory(
    location: &str,
    s3: &S3Settings,
) -> (Arc<dyn StorageFactory>, HashMap<String, String>) {
    if location.starts_with("file:") {
        return (Arc::new(LocalFsStorageFactory), HashMap::new());
    }
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let mut properties = HashMap::new();
    let region = s3.region.clone();
    let region = region.or_else(|| aws.region().map(ToString::to_string));
    properties.extend(region.map(|region| (S3_REGION.to_owned(), region)));
    let endpoint = s3.endpoint.clone();
    properties.extend(endpoint.map(|url| (S3_ENDPOINT.to_owned(), url)));
    properties.insert(S3_PATH_STYLE_ACCESS.to_owned(), s3.path_style.to_string());
    let loader = aws.credentials_provider().map(|provider| {
        let cached = CachedCredentials {
            provider,
            credentials: Mutex::default(),
        };
        CustomAwsCredentialLoader::new(cached)
    });
    let factory = OpenDalStorageFactory::S3 {
        customized_credential_load: loader,
    };
    (Arc::new(factory), properties)
}

/// A client of S3 for requests that `FileIO` does not have.
pub(crate) async fn client(s3: &S3Settings) -> aws_sdk_s3::Client {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let mut config = aws_sdk_s3::config::Builder::from(&aws).force_path_style(s3.path_style);
    config.set_endpoint_url(
        s3.endpoint
            .clone()
            .or(aws.endpoint_url().map(str::to_owned)),
    );
    if let Some(region) = s3.region.clone() {
        config = config.region(aws_sdk_s3::config::Region::new(region));
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

/// The credentials of the AWS chain. All files of a table share them, so that the chain's last
/// step, a request to the machine's metadata service, is not made for each file.
#[derive(Debug)]
struct CachedCredentials {
    provider: SharedCredentialsProvider,
    credentials: Mutex<Option<Credentials>>,
}

impl CachedCredentials {
    async fn get(&self) -> Result<Credentials, reqsign_core::Error> {
        let mut cached = self.credentials.lock().await;
        if let Some(credentials) = cached.as_ref()
            && credentials
                .expiry()
                .is_none_or(|expiry| expiry > SystemTime::now() + RENEW_BEFORE)
        {
            return Ok(credentials.clone());
        }
        let provided = self.provider.provide_credentials().await;
        let credentials = provided.map_err(|error| {
            reqsign_core::Error::new(ErrorKind::CredentialInvalid, "no AWS credentials")
                .with_source(error)
        })?;
        Ok(cached.insert(credentials).clone())
    }
}

impl ProvideCredential for CachedCredentials {
    type Credential = AwsCredential;

    async fn provide_credential(
        &self,
        _: &Context,
    ) -> Result<Option<AwsCredential>, reqsign_core::Error> {
        let credentials = self.get().await?;
        // The signer of a file that is open for long asks for new ones then.
        let expiry = credentials.expiry();
        let expiry = expiry.and_then(|expiry| expiry.duration_since(UNIX_EPOCH).ok());
        let millis = expiry.and_then(|expiry| i64::try_from(expiry.as_millis()).ok());
        let expires_in = millis.map(Timestamp::from_millisecond).transpose()?;
        Ok(Some(AwsCredential {
            access_key_id: credentials.access_key_id().to_owned(),
            secret_access_key: credentials.secret_access_key().to_owned(),
            session_token: credentials.session_token().map(str::to_owned),
            expires_in,
        }))
    }
}
