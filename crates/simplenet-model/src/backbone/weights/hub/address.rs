//! Addresses of files on a Hub. In: an address's text, or a redirect's. Out: an address that may be asked, or why it may
//! not; and whether two addresses are of one server, which decides about the token.

use ureq::http::Uri;

/// An address that may be asked: `http` or `https`, with a host, without a user's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    text: String,
    /// Scheme, host in lower case, port.
    origin: (String, String, u16),
}

impl Address {
    /// # Errors
    /// What is wrong with it, without its text: an address may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "it is not an address".to_string())?;
        let port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err("it begins with neither http:// nor https://".into()),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("it holds a user name; give a token with HF_TOKEN".into());
        }
        let (Some(host), Some(scheme)) = (uri.host().filter(|host| !host.is_empty()), uri.scheme_str())
        else {
            return Err("it names no host".into());
        };
        let origin = (scheme.to_string(), host.to_lowercase(), uri.port_u16().unwrap_or(port));
        Ok(Self { text: uri.to_string(), origin })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both are of one server: scheme, host and port.
    pub(super) fn is_on_the_server_of(&self, other: &Self) -> bool {
        self.origin == other.origin
    }

    /// Where a redirect from here leads: to a whole address, or to another path of this server.
    ///
    /// # Errors
    /// `location` is neither, or leads from https to http.
    pub(super) fn follow(&self, location: &str) -> Result<Self, String> {
        let (scheme, host, port) = &self.origin;
        let text = if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{host}:{port}{location}")
        } else {
            location.to_string()
        };
        let shown: String = location.chars().take(SHOWN).collect();
        let refused = |why: &str| format!("it redirects to {shown:?}, which is not followed: {why}");
        let to = Self::parse(&text).map_err(|why| refused(&why))?;
        if scheme == "https" && to.origin.0 == "http" {
            return Err(refused("it leads from https to http"));
        }
        Ok(to)
    }
}

/// Most characters of a server's text in a message.
const SHOWN: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_servers_may_be_asked() {
        for text in [
            "",
            "huggingface.co",
            "ftp://host/f",
            "file:///etc/passwd",
            "gopher://127.0.0.1:1/x",
            "http://",
            "http:///path",
            "https://user:secret@host/f",
            "http://host/ f",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let same =
            |a: &str, b: &str| Address::parse(a).unwrap().is_on_the_server_of(&Address::parse(b).unwrap());
        assert!(same("https://Hub.example/a", "https://hub.example:443/b?c"));
        for other in ["http://hub.example/a", "https://hub.example:8443/a", "https://cdn.hub.example/a"] {
            assert!(!same("https://hub.example/a", other), "{other}");
        }
        assert!(!same("http://127.0.0.1:80/", "http://localhost:80/"));
    }

    #[test]
    fn redirects_lead_to_servers_and_never_out_of_https() {
        let from = Address::parse("https://hub.example/a/b").unwrap();
        for (location, to) in [
            ("https://cdn.example/f?x=1", "https://cdn.example/f?x=1"),
            ("/api/f", "https://hub.example:443/api/f"),
            ("//cdn.example/f", "https://cdn.example/f"),
        ] {
            assert_eq!(from.follow(location).unwrap().as_str(), to);
        }
        for location in
            ["", "*", "#x", "x/y", "http://hub.example/a", "file:///etc/passwd", "/\u{e9}\n", "//"]
        {
            let error = from.follow(location).unwrap_err();
            assert!(!error.contains('\n') && error.contains("not followed"), "{error}");
        }
    }
}
