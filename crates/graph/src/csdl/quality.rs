//! What a conference device reports of its media.

use super::{Row, Type, complex, member};

pub(super) const TYPES: &[Type] = &[
    complex(
        "teleconferenceDeviceQuality",
        Row::ignored(
            "checked, and written to the log at debug level",
            "a_report_of_a_device_is_checked_by_the_metadata",
        ),
        &[
            member("callChainId", "Edm.Guid").required(),
            member("cloudServiceDeploymentEnvironment", "Edm.String"),
            member("cloudServiceDeploymentId", "Edm.String"),
            member("cloudServiceInstanceName", "Edm.String"),
            member("cloudServiceName", "Edm.String"),
            member("deviceDescription", "Edm.String").required(),
            member("deviceName", "Edm.String").required(),
            member("mediaLegId", "Edm.Guid").required(),
            member("mediaQualityList", "Collection(teleconferenceDeviceMediaQuality)").required(),
            member("participantId", "Edm.Guid").required(),
        ],
    )
    .open(),
    complex(
        "teleconferenceDeviceMediaQuality",
        Row::ignored("checked only", "a_report_of_a_device_is_checked_by_the_metadata"),
        &[
            member("averageInboundJitter", "Edm.Duration"),
            member("averageInboundPacketLossRateInPercentage", "Edm.Double"),
            member("averageInboundRoundTripDelay", "Edm.Duration"),
            member("averageOutboundJitter", "Edm.Duration"),
            member("averageOutboundPacketLossRateInPercentage", "Edm.Double"),
            member("averageOutboundRoundTripDelay", "Edm.Duration"),
            member("channelIndex", "Edm.Int32").required(),
            member("inboundPackets", "Edm.Int64"),
            member("localIPAddress", "Edm.String"),
            member("localPort", "Edm.Int32"),
            member("maximumInboundJitter", "Edm.Duration"),
            member("maximumInboundPacketLossRateInPercentage", "Edm.Double"),
            member("maximumInboundRoundTripDelay", "Edm.Duration"),
            member("maximumOutboundJitter", "Edm.Duration"),
            member("maximumOutboundPacketLossRateInPercentage", "Edm.Double"),
            member("maximumOutboundRoundTripDelay", "Edm.Duration"),
            member("mediaDuration", "Edm.Duration"),
            member("networkLinkSpeedInBytes", "Edm.Int64"),
            member("outboundPackets", "Edm.Int64"),
            member("remoteIPAddress", "Edm.String"),
            member("remotePort", "Edm.Int32"),
        ],
    )
    .open()
    .without_objects(),
];
