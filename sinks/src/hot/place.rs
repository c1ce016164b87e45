//! Which server hot state is in: one named by its URL, or the one that Sentinels name at the moment.

use std::time::{Duration, Instant};

use redis::{Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};

use super::resp::{Wire, master_of};

/// Where Sentinels listen unless the URL says otherwise.
const SENTINEL_PORT: u16 = 26_379;

pub(crate) enum Place {
    Server(Box<ConnectionInfo>),
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/NAME[/DB][?user=…&pass=…]`.
    Sentinels {
        /// With the user and password of the query.
        sentinels: Vec<ConnectionInfo>,
        name: String,
        /// Of the server: user, password and database, and whether it speaks TLS.
        like: Box<ConnectionInfo>,
    },
}

impl Place {
    /// The error says what is wrong, without the URL.
    pub(crate) fn of(url: &str) -> Result<Self, String> {
        if url.contains('#') {
            return Err("a fragment means nothing here; escape \"#\" in a password as %23".to_owned());
        }
        let info = |url: &str| {
            let client = Client::open(url).map_err(|error| error.to_string())?;
            Ok::<_, String>(client.get_connection_info().clone())
        };
        let (scheme, rest) = match url.split_once("+sentinel://") {
            Some((scheme @ ("redis" | "rediss"), rest)) => (scheme, rest),
            _ => return Ok(Self::Server(Box::new(info(url)?))),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (credentials, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        if hosts.is_empty() || name.is_empty() {
            return Err("with Sentinels it is redis+sentinel://HOST:PORT,HOST:PORT/NAME".to_owned());
        }
        let at = if credentials.is_empty() { "" } else { "@" };
        let like = Box::new(info(&format!("{scheme}://{credentials}{at}localhost/{db}"))?);
        // The URL of a socket is the one whose query holds user and password.
        let of_sentinels = info(&format!("redis+unix:///?{query}"))?.redis_settings().clone();
        let sentinels = hosts.split(',').map(|host| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
            let host = if has_port { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") };
            Ok(info(&format!("{scheme}://{host}"))?.set_redis_settings(of_sentinels.clone()))
        });
        Ok(Self::Sentinels { sentinels: sentinels.collect::<Result<_, String>>()?, name: name.to_owned(), like })
    }

    /// Connects, within `timeout` for each server that is asked.
    pub(crate) fn connect(&self, timeout: Duration) -> Result<Wire, RedisError> {
        match self {
            Self::Server(info) => Wire::open(info, timeout),
            Self::Sentinels { sentinels, name, like } => {
                let started = Instant::now();
                let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "no Sentinel is named"));
                for sentinel in sentinels {
                    match master_of(sentinel, name, timeout) {
                        Ok((host, port)) => {
                            let addr = match like.addr() {
                                ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                                    let (insecure, tls_params) = (*insecure, tls_params.clone());
                                    ConnectionAddr::TcpTls { host, port, insecure, tls_params }
                                }
                                _ => ConnectionAddr::Tcp(host, port),
                            };
                            let info = addr.into_connection_info()?.set_redis_settings(like.redis_settings().clone());
                            return Wire::open(&info, timeout);
                        }
                        Err(error) => last = error,
                    }
                    // Sentinels that hang are not waited for one after the other: the next try is soon.
                    if started.elapsed() > timeout.saturating_mul(4) {
                        break;
                    }
                }
                Err(last)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, places: &[&str], name: &str, db: i64, user: Option<&str>, pass: Option<&str>) {
        let Place::Sentinels { sentinels, name: is, like } = Place::of(url).unwrap() else { panic!("Sentinels") };
        assert_eq!(sentinels.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>(), places);
        let settings = like.redis_settings();
        assert_eq!((is.as_str(), settings.db(), settings.username(), settings.password()), (name, db, user, pass));
    }
    #[test]
    fn sentinels() {
        check("redis+sentinel://a,b:7/ct", &["a:26379", "b:7"], "ct", 0, None, None);
        check("redis+sentinel://u:p%40q@[::1]/ct/3", &["::1:26379"], "ct", 3, Some("u"), Some("p@q"));
        check("rediss+sentinel://:p@a:1/m?pass=s", &["a:1"], "m", 0, None, Some("p"));
    }

    #[test]
    fn passwords_of_sentinels() {
        let url = "redis+sentinel://u:p@a,b/m?user=v&pass=s%20t";
        let Ok(Place::Sentinels { sentinels, .. }) = Place::of(url) else { panic!("Sentinels") };
        for sentinel in sentinels {
            let settings = sentinel.redis_settings();
            assert_eq!((settings.username(), settings.password()), (Some("v"), Some("s t")));
        }
    }

    #[test]
    fn bad_urls() {
        for url in ["redis+sentinel://", "redis+sentinel://a", "redis+sentinel:///m", "redis+sentinel://a/m/x"] {
            assert!(Place::of(url).is_err(), "{url}");
        }
    }
}
