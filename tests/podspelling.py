"""Files out, each a pod with one value in one of the spellings that YAML has: what lint reads as text is a value to a cluster."""

from __future__ import annotations

from collections.abc import Iterator

_BOOLS = (
    "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON", "false", "False", "FALSE", "no", "No", "NO", "n",
    "N", "off", "Off", "OFF", "~", "null", "Null", "NULL", "tRue", "yES", "''", '"true"', "'false'", "!!bool yes",
    '!!bool "true"', "!!bool 'on'", '!!bool "false"', "! true", "!!str true", "0", "1", "",
)  # fmt: skip
_NUMBERS = (
    "0", "00", "000", "0x0", "0X0", "0b0", "0B0", "0o0", "0O0", "-0", "+0", "0_0", "-0x0", "-0b0", "+0x0", "-00", "0.0", "0e0",
    "0E3", ".0", "-.0", "00.0", "0.", "0.5", "1e0", "8e1", "80.0", "8_0", "0x50", "0120", "0o120", "0b1010000", "08", "09",
    "080", "01", "0_1", "_0", "0_", "0x_0", "0x", "0o7", "0o8", "1:0", "0:0", ".inf", "~", "null", '"0"', "'0'", '"80"',
    '!!int "0"', '!!int "80"', '!!float "0"', "!!float 0", "!!str 0", "! 0", "",
)  # fmt: skip
_TEXTS = (
    "{0}", "'{0}'", '"{0}"', "!!str {0}", "! {0}", "&anchor {0}", "|-\n            {0}", ">-\n            {0}",
    "|\n            {0}", "{0} # a remark", "{0}#", '"{0}\\x20"', "!!str '{0}'",
)  # fmt: skip
_FILE = """\
apiVersion: v1
kind: Pod
metadata: {{name: p, annotations: {{note: text}}}}
spec:
  {spec}
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: c
    image: i
    {container}
    securityContext:
      allowPrivilegeEscalation: {escalation}
      capabilities: {{drop: [{dropped}]}}
      {context}
"""
_VOLUMES = (
    "emptyDir: {}", "emptyDir:", "emptyDir: ~", "hostPath: {path: /}", "hostPath:", "hostPath: {}", '"hostPath": {path: /}',
    "'hostPath': {path: /}", "? hostPath\n    : {path: /}", '? "hostPath"\n    : {path: /}', '"host\\x50ath": {path: /}',
    "!!str hostPath: {path: /}", "? !!binary aG9zdFBhdGg=\n    : {path: /}", "<<: {hostPath: {path: /}}",
    "<<: [{hostPath: {path: /}}]", '!!merge "<<": {hostPath: {path: /}}', '"<<": {hostPath: {path: /}}',
    "<<: {emptyDir: {}}\n    hostPath: {path: /}", "hostPath: {path: /}\n    <<: {hostPath: }",
    "hostPath: \n    <<: {hostPath: {path: /}}",
)  # fmt: skip
_SPECS = (
    "<<: {hostPID: true}", "<<: [{hostPID: true}]", "<<: [{hostPID: false}, {hostPID: true}]",
    "<<: [{hostPID: true}, {hostPID: false}]",
    "hostPID: false\n  <<: {hostPID: true}", "<<: {hostPID: true}\n  hostPID: false", "note: &more {hostPID: true}\n  <<: *more",
    "note: &more {hostPID: true}\n  <<: [*more, {hostIPC: true}]", "<<: {<<: {hostPID: true}}", '"<<": {hostPID: true}',
    "<<: {securityContext: {runAsUser: 0}}", "hostPID: &it true\n  hostIPC: *it", "? hostPID\n  : true", '"host\\u0050ID": true',
    "'hostPID': true", "hostPID : true", "!!str hostPID: true", "? !!binary aG9zdFBJRA==\n  : true", "hostpid: true",
    "note: {hostPID: true}", "volumes: &list [{name: v, hostPath: {path: /}}]",
    "volumes:\n  - &v {name: v, emptyDir: {}}\n  - {<<: *v, name: w, hostPath: {path: /}}",
    "volumes:\n  - &v {name: v, hostPath: {path: /}}\n  - {<<: *v, name: w}",
    "volumes:\n  - <<: &v {hostPath: {path: /}}\n    name: v\n  - {<<: *v, name: w}",
)  # fmt: skip


def _file(spec: str = "", container: str = "", escalation: str = "false", dropped: str = "ALL", context: str = "") -> str:
    return _FILE.format(spec=spec, container=container, escalation=escalation, dropped=dropped, context=context)


def files() -> list[str]:
    """Return the files, in one order for ever."""
    return [*_bools(), *_numbers(), *_texts(), *map(_file, _SPECS), *(_volume(text) for text in _VOLUMES)]


def _volume(text: str) -> str:
    return _file(spec=f"volumes:\n  - name: v\n    {text}")


def _bools() -> Iterator[str]:
    for text in _BOOLS:
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            yield _file(spec=f"{key}: {text}")
        yield _file(escalation=text)
        yield _file(spec=f"hostUsers: {text}", context="runAsUser: 0")
        for key in ("privileged", "runAsNonRoot"):
            yield _file(context=f"{key}: {text}")
        yield _file(context=f"windowsOptions:\n        hostProcess: {text}")


def _numbers() -> Iterator[str]:
    for text in _NUMBERS:
        yield _file(context=f"runAsUser: {text}")
        yield _file(container=f"ports:\n    - containerPort: 80\n      hostPort: {text}")


def _texts() -> Iterator[str]:
    for form in _TEXTS:
        for good, bad in (("RuntimeDefault", "Unconfined"), ("Localhost", "''")):
            for field in ("seccompProfile", "appArmorProfile"):
                yield from (_file(context=f"{field}:\n          type: {form.format(value)}") for value in (good, bad))
        for value in ("Default", "Unmasked", "~", "null"):
            yield _file(context=f"procMount: {form.format(value)}")
        for value in ("container_t", "spc_t", "~"):
            yield _file(context=f"seLinuxOptions:\n          type: {form.format(value)}")
        yield _file(container=f"livenessProbe:\n        httpGet:\n          port: 80\n          host: {form.format('other')}")
    for text in (
        "ALL",
        "'ALL'",
        '"ALL"',
        "!!str ALL",
        "! ALL",
        "~",
        "all",
        "ALL, CHOWN",
        '"\\x41LL"',
        "*ALL",
        "&ALL ALL",
        "",
        "!!binary QUxM",
    ):
        yield _file(dropped=text)
