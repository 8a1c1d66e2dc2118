//! The platforms that an image is made for, and those that this machine runs.
//!
//! Names are normalised, compared and ordered as github.com/containerd/platforms v1.0.0-rc.5 does (which containerd
//! 2.4.2 has), so that a node takes from an index what other nodes take.

use super::document::PlatformNames;
use std::fmt;

/// A platform with normalised names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    /// Empty for the usual one of the architecture.
    variant: String,
    /// Abilities of the operating system that the image needs.
    features: Vec<String>,
}

impl Platform {
    /// Makes a platform from the names of a manifest.
    pub(crate) fn from_names(names: &PlatformNames) -> Self {
        let os = match names.os.to_lowercase() {
            os if os.is_empty() => "linux".to_owned(),
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, variant) = (
            names.architecture.to_lowercase(),
            names.variant.to_lowercase(),
        );
        let (architecture, variant) = normalised(&architecture, &variant);
        Self {
            os,
            architecture: architecture.to_owned(),
            variant,
            features: names.os_features.clone(),
        }
    }
}

fn normalised<'a>(architecture: &'a str, variant: &str) -> (&'a str, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture, variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [&self.os, &self.architecture, &self.variant];
        let names = names.into_iter().filter(|name| !name.is_empty());
        f.write_str(&names.map(String::as_str).collect::<Vec<_>>().join("/"))?;
        if !self.features.is_empty() {
            write!(f, " with {}", self.features.join(" and "))?;
        }
        Ok(())
    }
}

/// The machine that images are chosen for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Architectures with their variants that run here, the best one first.
    runs: Vec<(&'static str, &'static str)>,
}

impl Machine {
    /// The machine this program was built for.
    pub(crate) fn this() -> Self {
        Self::from_architecture(std::env::consts::ARCH)
    }

    /// Describes a machine of an architecture, with the images that it can run.
    pub(super) fn from_architecture(architecture: &'static str) -> Self {
        let runs = match architecture {
            "x86_64" => amd64(),
            "x86" => vec![("386", "")],
            "aarch64" => vec![
                ("arm64", ""),
                ("arm", "v8"),
                ("arm", "v7"),
                ("arm", "v6"),
                ("arm", "v5"),
            ],
            "arm" => vec![("arm", "v7"), ("arm", "v6"), ("arm", "v5")],
            "powerpc64" => vec![("ppc64le", "")],
            "loongarch64" => vec![("loong64", "")],
            other => vec![(other, "")],
        };
        Self { runs }
    }

    /// How well something fits: lower is better, `None` does not run here.
    pub(crate) fn rank(&self, platform: &Platform) -> Option<usize> {
        // Nothing here offers features of an operating system, and an image that needs one says so.
        if platform.os != "linux" || !platform.features.is_empty() {
            return None;
        }
        let this = (platform.architecture.as_str(), platform.variant.as_str());
        self.runs.iter().position(|known| *known == this)
    }

    /// The name of the architecture, as in Go.
    pub(crate) fn architecture(&self) -> &'static str {
        self.runs
            .first()
            .map_or("", |(architecture, _)| architecture)
    }
}

/// The platforms that an x86-64 machine runs. The higher levels of this processor come last, because containerd takes
/// no image of them; so an index with other images gives the same image on every machine.
fn amd64() -> Vec<(&'static str, &'static str)> {
    let mut runs = vec![("amd64", ""), ("386", "")];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("sse4.2") && has!("ssse3") && has!("popcnt");
        let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("fma") && has!("movbe");
        let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        for (level, present) in [("v2", v2), ("v3", v3), ("v4", v4)] {
            runs.extend(present.then_some(("amd64", level)));
        }
    }
    runs
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, architecture: &str, variant: &str) -> Platform {
        Platform::from_names(&PlatformNames {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..PlatformNames::default()
        })
    }

    /// The table of containerd's normalizeArch and normalizeOS.
    #[test]
    fn names_are_normalised() {
        for (os, architecture, variant, text) in [
            ("linux", "x86_64", "", "linux/amd64"),
            ("linux", "x86-64", "V1", "linux/amd64"),
            ("Linux", "AMD64", "v3", "linux/amd64/v3"),
            ("", "amd64", "", "linux/amd64"),
            ("LINUX", "i386", "v1", "linux/386"),
            ("linux", "i686", "", "linux/i686"),
            ("linux", "aarch64", "", "linux/arm64"),
            ("linux", "AArch64", "8", "linux/arm64"),
            ("linux", "arm64", "v8.0", "linux/arm64"),
            ("linux", "arm64", "v8.2", "linux/arm64/v8.2"),
            ("linux", "arm64", "9.0", "linux/arm64/v9"),
            ("linux", "armhf", "v6", "linux/arm/v7"),
            ("linux", "armel", "", "linux/arm/v6"),
            ("linux", "arm", "", "linux/arm/v7"),
            ("linux", "arm", "5", "linux/arm/v5"),
            ("macOS", "arm64", "", "darwin/arm64"),
            ("linux", "", "", "linux"),
            ("windows", "amd64", "", "windows/amd64"),
        ] {
            assert_eq!(platform(os, architecture, variant).to_string(), text);
        }
    }

    #[test]
    fn the_order_is_containerds() {
        let rank = |machine: &'static str, architecture: &str, variant: &str| {
            Machine::from_architecture(machine).rank(&platform("linux", architecture, variant))
        };
        assert_eq!(rank("x86_64", "x86_64", "v1"), Some(0));
        assert_eq!(rank("x86_64", "i386", ""), Some(1));
        assert_eq!(rank("x86_64", "arm64", ""), None);
        assert_eq!(rank("x86", "amd64", ""), None);
        assert_eq!(rank("aarch64", "arm64", "v8"), Some(0));
        assert_eq!(rank("aarch64", "arm", ""), Some(2));
        assert_eq!(rank("aarch64", "arm64", "v8.1"), None);
        assert_eq!(rank("arm", "armhf", ""), Some(0));
        assert_eq!(rank("arm", "armel", ""), Some(1));
        assert_eq!(rank("arm", "arm", "v8"), None);
        assert_eq!(rank("riscv64", "riscv64", ""), Some(0));
        let machine = Machine::from_architecture("x86_64");
        assert_eq!(machine.rank(&platform("windows", "amd64", "")), None);
        let features = PlatformNames {
            architecture: "amd64".to_owned(),
            os_version: "6.1".to_owned(),
            os_features: vec!["kvm".to_owned()],
            ..PlatformNames::default()
        };
        assert_eq!(machine.rank(&Platform::from_names(&features)), None);
        let version = PlatformNames {
            os_features: Vec::new(),
            ..features
        };
        assert_eq!(
            machine.rank(&Platform::from_names(&version)),
            Some(0),
            "Linux has no versions here"
        );
    }
}
