//! The names in certificates, as Kubernetes reads them: common name = user, organisations = groups.

use std::collections::BTreeSet;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::COMMON_NAME;
use const_oid::db::rfc4519::ORGANIZATION_NAME;
use const_oid::db::rfc4519::ORGANIZATIONAL_UNIT_NAME;
use der::Tag;
use der::Tagged;
use der::asn1::Any;
use der::asn1::PrintableString;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::Name;
use x509_cert::name::RdnSequence;
use x509_cert::name::RelativeDistinguishedName;

/// The subject of a certificate or of a request for one.
///
/// Two subjects are equal when they have the same common name and the same *sets* of organisations
/// and organisational units: DER orders a set by its encoding, so the order carries no meaning.
#[derive(Debug, Clone, Default, Eq)]
pub struct Subject {
    /// Common name; the user's name to Kubernetes.
    pub common_name: String,
    /// Organisations; the user's groups to Kubernetes.
    pub organizations: Vec<String>,
    /// Organisational units; Kubernetes gives them no meaning.
    pub organizational_units: Vec<String>,
}

impl PartialEq for Subject {
    fn eq(&self, other: &Subject) -> bool {
        fn set(values: &[String]) -> BTreeSet<&str> {
            values.iter().map(String::as_str).collect()
        }
        self.common_name == other.common_name
            && set(&self.organizations) == set(&other.organizations)
            && set(&self.organizational_units) == set(&other.organizational_units)
    }
}

impl Subject {
    /// A subject with organisations and no organisational units.
    pub fn new(
        common_name: impl Into<String>,
        organizations: impl IntoIterator<Item = impl Into<String>>,
    ) -> Subject {
        Subject {
            common_name: common_name.into(),
            organizations: organizations.into_iter().map(Into::into).collect(),
            organizational_units: Vec::new(),
        }
    }

    /// The distinguished name as Go's `pkix.Name` lays it out: one relative name of all
    /// organisations, one of all units, one of the common name; empty ones left out.
    pub(crate) fn to_name(&self) -> der::Result<Name> {
        let common_name = std::slice::from_ref(&self.common_name);
        let mut names = RdnSequence::default();
        for (oid, values) in [
            (ORGANIZATION_NAME, self.organizations.as_slice()),
            (
                ORGANIZATIONAL_UNIT_NAME,
                self.organizational_units.as_slice(),
            ),
            (COMMON_NAME, common_name),
        ] {
            let distinct: BTreeSet<&str> = values
                .iter()
                .map(String::as_str)
                .filter(|value| !value.is_empty())
                .collect();
            if distinct.is_empty() {
                continue;
            }
            let attributes = distinct
                .into_iter()
                .map(|value| attribute(oid, value))
                .collect::<der::Result<Vec<_>>>()?;
            names.push(RelativeDistinguishedName::try_from(attributes)?);
        }
        // The crate builds a `Name` from parts only through its encoding.
        der::Decode::from_der(&der::Encode::to_der(&names)?)
    }

    /// Reads a distinguished name, however its values are grouped into relative names.
    pub(crate) fn from_name(name: &Name) -> der::Result<Subject> {
        let mut subject = Subject::default();
        for attribute in name.iter() {
            let value = || text(&attribute.value);
            match attribute.oid {
                COMMON_NAME => subject.common_name = value()?,
                ORGANIZATION_NAME => subject.organizations.push(value()?),
                ORGANIZATIONAL_UNIT_NAME => subject.organizational_units.push(value()?),
                _ => {}
            }
        }
        Ok(subject)
    }
}

/// One attribute, a PrintableString where its characters allow it, as Go writes them.
fn attribute(oid: ObjectIdentifier, value: &str) -> der::Result<AttributeTypeAndValue> {
    let value = match PrintableString::new(value) {
        Ok(printable) => Any::encode_from(&printable)?,
        Err(_) => Any::new(Tag::Utf8String, value.as_bytes())?,
    };
    Ok(AttributeTypeAndValue { oid, value })
}

/// The text of an attribute's value.
fn text(value: &Any) -> der::Result<String> {
    let readable = matches!(
        value.tag(),
        Tag::PrintableString | Tag::Utf8String | Tag::Ia5String
    );
    match std::str::from_utf8(value.value()) {
        Ok(text) if readable => Ok(text.to_owned()),
        _ => Err(der::ErrorKind::Value { tag: value.tag() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_compare_as_a_set_and_survive_the_encoding() {
        let subject = Subject::new("system:node:a", ["b:long", "a", "b:long", "Grüße"]);
        let read = Subject::from_name(&subject.to_name().expect("a name")).expect("readable");
        assert_eq!(read, subject);
        assert_eq!(read.organizations.len(), 3, "duplicates fall together");
        assert_ne!(read, Subject::new("system:node:a", ["b:long", "a"]));
        assert_ne!(read, Subject::new("other", ["b:long", "a", "Grüße"]));
    }

    #[test]
    fn two_relative_names_of_one_value_read_like_one_of_two() {
        let name = |names: &[&[&str]]| {
            let mut sequence = RdnSequence::default();
            for values in names {
                let attributes: Vec<_> = values
                    .iter()
                    .map(|value| attribute(ORGANIZATION_NAME, value).expect("printable"))
                    .collect();
                sequence.push(RelativeDistinguishedName::try_from(attributes).expect("a set"));
            }
            let encoded = der::Encode::to_der(&sequence).expect("encodable");
            let name: Name = der::Decode::from_der(&encoded).expect("decodable");
            Subject::from_name(&name).expect("readable")
        };
        assert_eq!(name(&[&["a", "b"]]), name(&[&["b"], &["a"]]));
    }
}
