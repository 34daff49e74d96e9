"""The fields of the engine's write requests, with the type of each. Source: the Docker Engine API 1.51, and Go types of 26.1.

A field that is missing here makes a request that uses it be refused, so a gate that is older than its engine fails closed.
"""

from __future__ import annotations

from collections.abc import Mapping

from pratique.enforce.docker.decode import ANY, BOOL, INT, STRING, STRINGS, TABLE, WORDS, Field, Shape

Fields = Mapping[str, Shape]

_RATE: Fields = {"Path": STRING, "Rate": INT, "Weight": INT}
_RESOURCES: Fields = {
    "CpuShares": INT, "Memory": INT, "NanoCpus": INT, "CgroupParent": STRING, "BlkioWeight": INT,
    "BlkioWeightDevice": Field("list", _RATE), "BlkioDeviceReadBps": Field("list", _RATE),
    "BlkioDeviceWriteBps": Field("list", _RATE), "BlkioDeviceReadIOps": Field("list", _RATE),
    "BlkioDeviceWriteIOps": Field("list", _RATE), "CpuPeriod": INT, "CpuQuota": INT, "CpuRealtimePeriod": INT,
    "CpuRealtimeRuntime": INT, "CpusetCpus": STRING, "CpusetMems": STRING,
    "Devices": Field("list", {"PathOnHost": STRING, "PathInContainer": STRING, "CgroupPermissions": STRING}),
    "DeviceCgroupRules": STRINGS,
    "DeviceRequests": Field(
        "list", {"Driver": STRING, "Count": INT, "DeviceIDs": STRINGS, "Capabilities": ANY, "Options": TABLE}
    ),
    "KernelMemory": INT, "KernelMemoryTCP": INT, "MemoryReservation": INT, "MemorySwap": INT, "MemorySwappiness": INT,
    "OomKillDisable": BOOL, "PidsLimit": INT, "Ulimits": Field("list", {"Name": STRING, "Hard": INT, "Soft": INT}),
    "CpuCount": INT, "CpuPercent": INT, "IOMaximumIOps": INT, "IOMaximumBandwidth": INT,
}  # fmt: skip
_RESTART: Fields = {"Name": STRING, "MaximumRetryCount": INT}
_DRIVER: Fields = {"Name": STRING, "Options": TABLE}
_MOUNT: Fields = {
    "Type": STRING, "Source": STRING, "Target": STRING, "ReadOnly": BOOL, "Consistency": STRING,
    "BindOptions": {
        "Propagation": STRING, "NonRecursive": BOOL, "CreateMountpoint": BOOL, "ReadOnlyNonRecursive": BOOL,
        "ReadOnlyForceRecursive": BOOL,
    },
    "VolumeOptions": {"NoCopy": BOOL, "Labels": TABLE, "Subpath": STRING, "DriverConfig": _DRIVER},
    "ImageOptions": {"Subpath": STRING},
    "TmpfsOptions": {"SizeBytes": INT, "Mode": INT, "Options": ANY},
    "ClusterOptions": {},
}  # fmt: skip
_HOST: Fields = {
    **_RESOURCES,
    "Binds": STRINGS, "ContainerIDFile": STRING, "LogConfig": {"Type": STRING, "Config": TABLE}, "NetworkMode": STRING,
    "PortBindings": Field("table", Field("list", {"HostIp": STRING, "HostPort": STRING})),
    "RestartPolicy": _RESTART, "AutoRemove": BOOL, "VolumeDriver": STRING, "VolumesFrom": STRINGS,
    "ConsoleSize": ANY, "Annotations": TABLE, "CapAdd": WORDS, "CapDrop": WORDS, "Capabilities": STRINGS,
    "CgroupnsMode": STRING, "Dns": STRINGS, "DnsOptions": STRINGS, "DnsSearch": STRINGS, "ExtraHosts": STRINGS,
    "GroupAdd": STRINGS, "IpcMode": STRING, "Cgroup": STRING, "Links": STRINGS, "OomScoreAdj": INT, "PidMode": STRING,
    "Privileged": BOOL, "PublishAllPorts": BOOL, "ReadonlyRootfs": BOOL, "SecurityOpt": STRINGS, "StorageOpt": TABLE,
    "Tmpfs": TABLE, "UTSMode": STRING, "UsernsMode": STRING, "ShmSize": INT, "Sysctls": TABLE, "Runtime": STRING,
    "Isolation": STRING, "Mounts": Field("list", _MOUNT), "MaskedPaths": STRINGS, "ReadonlyPaths": STRINGS, "Init": BOOL,
}  # fmt: skip
_ENDPOINT: Fields = {
    "IPAMConfig": {"IPv4Address": STRING, "IPv6Address": STRING, "LinkLocalIPs": STRINGS},
    "Links": STRINGS, "Aliases": STRINGS, "MacAddress": STRING, "NetworkID": STRING, "EndpointID": STRING, "Gateway": STRING,
    "IPAddress": STRING, "IPPrefixLen": INT, "IPv6Gateway": STRING, "GlobalIPv6Address": STRING, "GlobalIPv6PrefixLen": INT,
    "DriverOpts": TABLE, "DNSNames": STRINGS, "GwPriority": INT,
}  # fmt: skip
_CONFIG: Fields = {
    "Hostname": STRING, "Domainname": STRING, "User": STRING, "AttachStdin": BOOL, "AttachStdout": BOOL, "AttachStderr": BOOL,
    "ExposedPorts": Field("table", {}), "Tty": BOOL, "OpenStdin": BOOL, "StdinOnce": BOOL, "Env": STRINGS, "Cmd": WORDS,
    "Healthcheck": {
        "Test": STRINGS, "Interval": INT, "Timeout": INT, "StartPeriod": INT, "StartInterval": INT, "Retries": INT,
    },
    "ArgsEscaped": BOOL, "Image": STRING, "Volumes": Field("table", {}), "WorkingDir": STRING, "Entrypoint": WORDS,
    "NetworkDisabled": BOOL, "MacAddress": STRING, "OnBuild": STRINGS, "Labels": TABLE, "StopSignal": STRING,
    "StopTimeout": INT, "Shell": WORDS,
}  # fmt: skip

CREATE: Fields = {
    **_CONFIG, "HostConfig": _HOST, "NetworkingConfig": {"EndpointsConfig": Field("table", _ENDPOINT)},
}  # fmt: skip
COMMIT: Fields = _CONFIG
UPDATE: Fields = {**_RESOURCES, "RestartPolicy": _RESTART}
EXEC: Fields = {
    "User": STRING, "Privileged": BOOL, "Tty": BOOL, "ConsoleSize": ANY, "AttachStdin": BOOL, "AttachStderr": BOOL,
    "AttachStdout": BOOL, "Detach": BOOL, "DetachKeys": STRING, "Env": STRINGS, "WorkingDir": STRING, "Cmd": STRINGS,
    "Container": STRING,
}  # fmt: skip
EXEC_START: Fields = {"Detach": BOOL, "Tty": BOOL, "ConsoleSize": ANY}
VOLUME: Fields = {"Name": STRING, "Driver": STRING, "DriverOpts": TABLE, "Labels": TABLE, "ClusterVolumeSpec": {}}
NETWORK: Fields = {
    "Name": STRING, "CheckDuplicate": BOOL, "Driver": STRING, "Scope": STRING, "EnableIPv4": BOOL, "EnableIPv6": BOOL,
    "IPAM": {
        "Driver": STRING, "Options": TABLE,
        "Config": Field(
            "list", {"Subnet": STRING, "IPRange": STRING, "Gateway": STRING, "AuxiliaryAddresses": TABLE, "AuxAddress": TABLE}
        ),
    },
    "Internal": BOOL, "Attachable": BOOL, "Ingress": BOOL, "ConfigOnly": BOOL, "ConfigFrom": {"Network": STRING},
    "Options": TABLE, "Labels": TABLE,
}  # fmt: skip
CONNECT: Fields = {"Container": STRING, "EndpointConfig": _ENDPOINT, "Force": BOOL}
