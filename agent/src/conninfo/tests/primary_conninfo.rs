//! `primary_conninfo` as `pg_basebackup -R` of each major writes it.

use super::*;

#[test]
fn it_works_unchanged() {
    for (major, text) in [
        (
            13,
            "user=postgres passfile='/nonexistent/.pgpass' channel_binding=prefer host=localhost port=5433 \
             sslmode=prefer sslcompression=0 ssl_min_protocol_version=TLSv1.2 gssencmode=prefer krbsrvname=postgres \
             target_session_attrs=any",
        ),
        (
            14,
            "user=postgres passfile='/nonexistent/.pgpass' channel_binding=prefer host=localhost port=5433 \
             sslmode=prefer sslcompression=0 sslsni=1 ssl_min_protocol_version=TLSv1.2 gssencmode=prefer \
             krbsrvname=postgres target_session_attrs=any",
        ),
        (
            15,
            "user=postgres passfile='/nonexistent/.pgpass' channel_binding=prefer host=localhost port=5433 \
             sslmode=prefer sslcompression=0 sslsni=1 ssl_min_protocol_version=TLSv1.2 gssencmode=prefer \
             krbsrvname=postgres target_session_attrs=any",
        ),
        (
            16,
            "user=postgres passfile='/nonexistent/.pgpass' channel_binding=prefer host=localhost port=5433 \
             sslmode=prefer sslcompression=0 sslcertmode=allow sslsni=1 ssl_min_protocol_version=TLSv1.2 \
             gssencmode=prefer krbsrvname=postgres gssdelegation=0 target_session_attrs=any load_balance_hosts=disable",
        ),
        (
            17,
            "user=postgres passfile='/nonexistent/.pgpass' channel_binding=prefer host=localhost port=5433 \
             sslmode=prefer sslnegotiation=postgres sslcompression=0 sslcertmode=allow sslsni=1 \
             ssl_min_protocol_version=TLSv1.2 gssencmode=prefer krbsrvname=postgres gssdelegation=0 \
             target_session_attrs=any load_balance_hosts=disable dbname=postgres",
        ),
        (
            18,
            "user=postgres passfile='/nonexistent/.pgpass' channel_binding=prefer host=localhost port=5433 \
             sslmode=prefer sslnegotiation=postgres sslcompression=0 sslcertmode=allow sslsni=1 \
             ssl_min_protocol_version=TLSv1.2 gssencmode=prefer krbsrvname=postgres gssdelegation=0 \
             target_session_attrs=any load_balance_hosts=disable dbname=postgres",
        ),
    ] {
        let (conninfo, warnings) = Conninfo::resolve(Some(text), &Overrides::default(), &bare()).unwrap();
        assert_eq!((hosts(&conninfo), conninfo.user.as_str()), (vec!["localhost 5433".to_owned()], "postgres"));
        assert_eq!(conninfo.tls.mode, SslMode::Prefer, "{major}");
        assert_eq!(conninfo.dbname.as_deref(), (major >= 17).then_some("postgres"));
        assert!(warnings.is_empty(), "{major}: {warnings:?}");
    }
}

#[test]
fn with_every_kind_of_value_that_needs_quotes() {
    let text = "user=streaming_replica password='it\\'s \\\\ a ''secret' channel_binding=require \
        host='/var/run/postgresql,db-rw.ns.svc' port='5432,5433' application_name='standby one' \
        options='-c statement_timeout=0' sslmode=verify-full sslrootcert='/etc/ca with blank.crt' \
        sslcert=/controller/certificates/streaming_replica.crt sslkey=/controller/certificates/streaming_replica.key";
    assert!(resolve(text).is_err(), "a quote is not escaped by doubling");
    let conninfo = resolve(&text.replace("''", "")).unwrap();
    assert_eq!(hosts(&conninfo), ["unix /var/run/postgresql 5432", "db-rw.ns.svc 5433"]);
    assert_eq!(passwords(&conninfo), [Some("it's \\ a secret"); 2]);
    assert_eq!(conninfo.application_name.as_deref(), Some("standby one"));
    assert_eq!(conninfo.tls.root, RootCertificates::File("/etc/ca with blank.crt".into()));
}
