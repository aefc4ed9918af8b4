//! Typed values to validated ones: what each may be, which place counts, and what is said of a fault.

use super::*;
use std::time::Duration;

#[test]
fn the_table_has_every_parameter_of_libpq_18() {
    // PQconndefaults() of libpq 18.0, and `servicefile`, which 19 made a parameter.
    let libpq = "service=PGSERVICE servicefile=PGSERVICEFILE user=PGUSER password=PGPASSWORD passfile=PGPASSFILE \
        channel_binding=PGCHANNELBINDING connect_timeout=PGCONNECT_TIMEOUT dbname=PGDATABASE host=PGHOST \
        hostaddr=PGHOSTADDR port=PGPORT client_encoding=PGCLIENTENCODING options=PGOPTIONS application_name=PGAPPNAME \
        fallback_application_name= keepalives= keepalives_idle= keepalives_interval= keepalives_count= \
        tcp_user_timeout= sslmode=PGSSLMODE sslnegotiation=PGSSLNEGOTIATION sslcompression=PGSSLCOMPRESSION \
        sslcert=PGSSLCERT sslkey=PGSSLKEY sslcertmode=PGSSLCERTMODE sslpassword= sslrootcert=PGSSLROOTCERT \
        sslcrl=PGSSLCRL sslcrldir=PGSSLCRLDIR sslsni=PGSSLSNI requirepeer=PGREQUIREPEER require_auth=PGREQUIREAUTH \
        min_protocol_version=PGMINPROTOCOLVERSION max_protocol_version=PGMAXPROTOCOLVERSION \
        ssl_min_protocol_version=PGSSLMINPROTOCOLVERSION ssl_max_protocol_version=PGSSLMAXPROTOCOLVERSION \
        gssencmode=PGGSSENCMODE krbsrvname=PGKRBSRVNAME gsslib=PGGSSLIB gssdelegation=PGGSSDELEGATION replication= \
        target_session_attrs=PGTARGETSESSIONATTRS load_balance_hosts=PGLOADBALANCEHOSTS scram_client_key= \
        scram_server_key= oauth_issuer= oauth_client_id= oauth_client_secret= oauth_scope= sslkeylogfile=";
    let ours: Vec<_> = PARAMETERS.iter().map(|p| format!("{}={}", p.name, p.environment.unwrap_or_default())).collect();
    assert_eq!(ours.join(" "), libpq.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(PARAMETERS.iter().all(|parameter| !parameter.about.is_empty()));
}

#[test]
fn whatever_is_of_the_refused_class_is_refused() {
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.class == Class::Refused) {
        let expected =
            format!("connection option \"{}\" is refused: {} (connection string)", parameter.name, parameter.about);
        assert_eq!(error_of(&format!("{}=x", parameter.name)), expected);
        assert_eq!(error_of(&format!("{}=''", parameter.name)), "no error");
    }
}

#[test]
fn defaults() {
    let conninfo = resolve("").unwrap();
    assert_eq!(hosts(&conninfo), ["unix /run/sockets 5432"]);
    assert_eq!((conninfo.user.as_str(), conninfo.dbname), ("me", None));
    assert_eq!((conninfo.application_name, conninfo.options), (None, None));
    assert_eq!((conninfo.connect_timeout, conninfo.keepalives), (None, Some(Keepalives::default())));
    assert_eq!(conninfo.require_auth, RequireAuth::Any);
    assert_eq!(conninfo.channel_binding, ChannelBinding::Prefer);
    assert_eq!(conninfo.target_session_attrs, TargetSessionAttrs::Any);
    assert_eq!(conninfo.load_balance_hosts, LoadBalanceHosts::Disable);
    assert_eq!(conninfo.tls.mode, SslMode::Prefer);
    assert_eq!(conninfo.tls.root, RootCertificates::DefaultFile(None));
    assert_eq!((conninfo.tls.min_version, conninfo.tls.max_version), (TlsVersion::Tls12, None));
    assert!(conninfo.tls.sni);

    let remote = Environment { socket_directory: None, home: Some("/home/me".into()), ..bare() };
    let conninfo = resolve_in("", &remote).unwrap();
    assert_eq!(hosts(&conninfo), ["localhost 5432"]);
    assert_eq!(conninfo.tls.certificate, Some("/home/me/.postgresql/postgresql.crt".into()));
    assert_eq!(conninfo.tls.key, Some("/home/me/.postgresql/postgresql.key".into()));
    assert_eq!(conninfo.tls.root, RootCertificates::DefaultFile(Some("/home/me/.postgresql/root.crt".into())));
    assert_eq!(conninfo.tls.crl, None, "there is no such file");

    let nobody = Environment { user: None, ..bare() };
    assert!(matches!(resolve_in("", &nobody), Err(ConninfoError::NoUser)));
    assert_eq!(resolve_in("user=u", &nobody).unwrap().user, "u");
}

#[test]
fn lists_of_hosts() {
    for (text, expected) in [
        ("host=a,b,c", &["a 5432", "b 5432", "c 5432"][..]),
        ("host=a,b port=1", &["a 1", "b 1"]),
        ("host=a,b port=1,2", &["a 1", "b 2"]),
        ("host=a,b port=1,", &["a 1", "b 5432"]),
        ("host=, port=7", &["unix /run/sockets 7", "unix /run/sockets 7"]),
        ("host=/tmp,@x,h", &["unix /tmp 5432", "unix @x 5432", "h 5432"]),
        ("hostaddr=10.0.0.1,::1", &["=10.0.0.1 5432", "=::1 5432"]),
        ("host=a,b hostaddr=10.0.0.1,", &["a=10.0.0.1 5432", "b 5432"]),
        ("host=/tmp hostaddr=10.0.0.1", &["/tmp=10.0.0.1 5432"]),
        ("port=' +5433 '", &["unix /run/sockets 5433"]),
        ("postgres://u@[::1]:7,%2Ftmp/db", &["::1 7", "unix /tmp 5432"]),
    ] {
        assert_eq!(hosts(&resolve(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_value_is_said_as_libpq_does() {
    let table = "\
sslmode=x|invalid sslmode value: \"x\"
sslmode=Require|invalid sslmode value: \"Require\"
port=x|invalid integer value \"x\" for connection option \"port\"
port=5a|invalid integer value \"5a\" for connection option \"port\"
port=99999999999999|invalid integer value \"99999999999999\" for connection option \"port\"
port=99999|invalid port number: \"99999\"
port=0|invalid port number: \"0\"
host=a,b,c port=1,2|could not match 2 port numbers to 3 hosts
host=a port=1,2|could not match 2 port numbers to 1 hosts
host=a,b hostaddr=1.1.1.1|could not match 2 host names to 1 hostaddr values
hostaddr=1.1.1.x|could not parse network address \"1.1.1.x\" of connection option \"hostaddr\"
connect_timeout=1s|invalid integer value \"1s\" for connection option \"connect_timeout\"
keepalives=x|invalid integer value \"x\" for connection option \"keepalives\"
keepalives_idle=x|invalid integer value \"x\" for connection option \"keepalives_idle\"
keepalives_interval=x|invalid integer value \"x\" for connection option \"keepalives_interval\"
keepalives_count=x|invalid integer value \"x\" for connection option \"keepalives_count\"
tcp_user_timeout=x|invalid integer value \"x\" for connection option \"tcp_user_timeout\"
channel_binding=x|invalid channel_binding value: \"x\"
target_session_attrs=x|invalid target_session_attrs value: \"x\"
load_balance_hosts=1|invalid load_balance_hosts value: \"1\"
sslcertmode=x|invalid sslcertmode value: \"x\"
sslnegotiation=x|invalid sslnegotiation value: \"x\"
sslnegotiation=direct|weak sslmode \"prefer\" may not be used with sslnegotiation=direct (use \"require\", \"verify-ca\", or \"verify-full\")
sslrootcert=system sslmode=require|weak sslmode \"require\" may not be used with sslrootcert=system (use \"verify-full\")
ssl_min_protocol_version=x|invalid \"ssl_min_protocol_version\" value: \"x\"
ssl_max_protocol_version=SSLv3|invalid \"ssl_max_protocol_version\" value: \"SSLv3\"
ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2|invalid SSL protocol version range (ssl_min_protocol_version, ssl_max_protocol_version)
gssencmode=x|invalid gssencmode value: \"x\"
min_protocol_version=3.1|invalid min_protocol_version value: \"3.1\"
max_protocol_version=2.0|invalid max_protocol_version value: \"2.0\"
min_protocol_version=3.2 max_protocol_version=3.0|\"min_protocol_version\" is greater than \"max_protocol_version\"
require_auth=x|invalid require_auth value: \"x\"
require_auth=md5,|invalid require_auth value: \"\"
require_auth=!|invalid require_auth value: \"\"
require_auth='md5, password'|invalid require_auth value: \" password\"
require_auth=md5,md5|require_auth method \"md5\" is specified more than once
require_auth=!none,!none|require_auth method \"!none\" is specified more than once
require_auth=md5,!password|negative require_auth method \"!password\" cannot be mixed with non-negative methods
require_auth=!md5,password|require_auth method \"password\" cannot be mixed with negative methods
gssencmode=require|connection option \"gssencmode\" is refused: encryption by GSSAPI is not supported
gssdelegation=1|connection option \"gssdelegation\" is refused: credentials cannot be delegated
min_protocol_version=latest|connection option \"min_protocol_version\" is refused: protocol 3.0 is spoken, and no later one
sslkey=pkcs11:key|connection option \"sslkey\" is refused: keys in engines are not supported: give a file
ssl_min_protocol_version='TLSv1' ssl_max_protocol_version=TLSv1.1|connection option \"ssl_max_protocol_version\" is refused: TLS before 1.2 is not spoken";
    for (text, expected) in table.lines().map(|line| line.split_once('|').unwrap()) {
        assert_eq!(error_of(text), format!("{expected} (connection string)"), "{text}");
    }
}

#[test]
fn an_error_names_the_place() {
    let said = |text, variables| resolve_in(text, &environment(variables)).unwrap_err().to_string();
    let port = |place| format!("invalid port number: \"0\" ({place})");
    assert_eq!(said("", &[("PGPORT", "0")]), port("environment variable PGPORT"));
    let overrides = Overrides { port: Some("0".to_owned()), ..Overrides::default() };
    let error = Conninfo::resolve(None, &overrides, &bare()).unwrap_err();
    assert_eq!(error.to_string(), port("command line option --port"));
    // Not set is one thing and set to nothing another.
    assert_eq!(said("", &[("PGSSLMODE", "")]), "invalid sslmode value: \"\" (environment variable PGSSLMODE)");
    let unreadable = |name| {
        use std::os::unix::ffi::OsStringExt;
        let variables = [(name, std::ffi::OsString::from_vec(vec![0xff]))];
        resolve_in("", &Environment { user: Some("me".to_owned()), ..Environment::new(variables) })
    };
    let error = unreadable("PGHOST").unwrap_err();
    assert_eq!(error.to_string(), "environment variable PGHOST is not valid UTF-8");
    assert!(unreadable("PGUNKNOWN").is_ok());
}

#[test]
fn the_values_that_count() {
    let get = |text: &str| resolve(text).unwrap();
    assert_eq!(get("connect_timeout=1").connect_timeout, Some(Duration::from_secs(1)));
    assert_eq!(get("connect_timeout=-1").connect_timeout, None);
    assert_eq!(get("connect_timeout=0").connect_timeout, None);
    assert_eq!(get("tcp_user_timeout=1500").tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(get("keepalives=0 keepalives_idle=1").keepalives, None);
    let keepalives = Keepalives { idle: Some(Duration::from_secs(9)), interval: None, count: Some(3) };
    assert_eq!(
        get("keepalives=2 keepalives_idle=9 keepalives_interval=0 keepalives_count=3").keepalives,
        Some(keepalives)
    );
    assert_eq!(get("sslmode=disable sslsni=0").tls.mode, SslMode::Disable);
    assert!(!get("sslsni=0").tls.sni);
    assert_eq!(get("sslrootcert=system").tls.mode, SslMode::VerifyFull);
    assert_eq!(get("sslrootcert=system sslmode=verify-full").tls.root, RootCertificates::System);
    assert_eq!(get("sslrootcert=/ca").tls.root, RootCertificates::File("/ca".into()));
    assert_eq!(get("sslnegotiation=direct sslmode=require").tls.negotiation, SslNegotiation::Direct);
    assert_eq!(get("ssl_min_protocol_version=tlsv1.1").tls.min_version, TlsVersion::Tls12);
    assert_eq!(get("ssl_min_protocol_version=TLSv1.3").tls.min_version, TlsVersion::Tls13);
    assert_eq!(get("ssl_max_protocol_version=TLSv1.2").tls.max_version, Some(TlsVersion::Tls12));
    assert_eq!(get("sslcrl=/crl").tls.crl, Some("/crl".into()));
    assert_eq!(get("sslcertmode=require").tls.certificate_mode, SslCertMode::Require);
    assert_eq!(get("options='-c a=b'").options.as_deref(), Some("-c a=b"));
    assert_eq!(get("replication=bogus dbname=d").dbname.as_deref(), Some("d"));
    let some = RequireAuth::Only(vec![AuthMethod::ScramSha256, AuthMethod::None]);
    assert_eq!(get("require_auth=scram-sha-256,none").require_auth, some);
    let others = RequireAuth::Not(vec![AuthMethod::Password, AuthMethod::Md5]);
    assert_eq!(get("require_auth=!password,!md5").require_auth, others);
    assert_eq!(get("max_protocol_version=latest gssencmode=prefer gssdelegation=0 krbsrvname=x").hosts.len(), 1);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(get("client_encoding=auto").startup_parameters, [pair("client_encoding", "UTF8")]);
    let zone = environment(&[("PGTZ", "UTC"), ("PGGEQO", "Default"), ("PGCLIENTENCODING", "latin1")]);
    let expected = [pair("client_encoding", "latin1"), pair("timezone", "UTC")];
    assert_eq!(resolve_in("", &zone).unwrap().startup_parameters, expected);
}

#[test]
fn precedence() {
    let outer = environment(&[
        ("PGHOST", "environment"),
        ("PGPORT", "1"),
        ("PGUSER", "environment"),
        ("PGDATABASE", "environment"),
        ("PGPASSWORD", "environment"),
        ("PGAPPNAME", "environment"),
        ("PGREQUIRESSL", "1"),
    ]);
    let overrides = Overrides {
        host: Some("option".to_owned()),
        port: Some(String::new()),
        user: Some("option".to_owned()),
        password: Some(Secret::new("option")),
        fallback_application_name: Some("pg_receivewal".to_owned()),
    };
    let resolve = |text, overrides: &Overrides| Conninfo::resolve(Some(text), overrides, &outer).unwrap().0;
    let string = "host=string port=2 user='' password=string application_name=string fallback_application_name=string";

    let all = resolve(string, &overrides);
    assert_eq!((hosts(&all), all.user.as_str()), (vec!["option 2".to_owned()], "option"));
    assert_eq!(passwords(&all), [Some("option")]);
    assert_eq!(all.application_name.as_deref(), Some("string"));

    let none = resolve(string, &Overrides::default());
    assert_eq!((hosts(&none), none.user.as_str()), (vec!["string 2".to_owned()], "environment"));
    assert_eq!(passwords(&none), [Some("string")]);

    let environment_alone = resolve("", &Overrides::default());
    assert_eq!(hosts(&environment_alone), ["environment 1"]);
    assert_eq!(environment_alone.application_name.as_deref(), Some("environment"));
    assert_eq!(environment_alone.tls.mode, SslMode::Require);
    assert_eq!(environment_alone.dbname, None, "pg_receivewal does not look at PGDATABASE");

    let bare = |variables: &[(&str, &str)]| {
        Conninfo::resolve(None, &overrides, &environment(variables)).unwrap().0.application_name
    };
    assert_eq!(bare(&[]).as_deref(), Some("pg_receivewal"));
    assert_eq!(bare(&[("PGAPPNAME", "")]), None, "as in libpq");
}
