"""Values that the chart refuses, each in a sentence that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.watching.kubernetes import CHART, helm

MODEL = ("--set", "settings.model.uri=models:/digits@champion")
ALONE = (*MODEL, "--set", "standalone.enabled=true")
INJECTING = (
    *("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"),
    *("--set", "injection.enabled=true"),
)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--set", "standalone.enabled=true"), "settings.model.uri is required"),
        ((*MODEL, "--set", "settings.assess.trails=39"), "trails"),
        ((*MODEL, "--set", "settings.http.host=0.0.0.0"), "host"),
        ((*MODEL, "--set", "settings.assess.confidence=95"), "confidence"),
        ((*MODEL, "--set", "replicas=3"), "replicas"),
        ((*MODEL, "--set", "device.mode=shared"), "device"),
        ((*MODEL, "--set", "podMonitor.enabled=true"), "podMonitor.matchLabels is required"),
        ((*MODEL, "--set", "standalone.enabled=true", "--set", "device.mode=claim"), "templateName is required"),
        ((*MODEL, "--set", "settings.http.token_file=/token"), "token_file"),
        ((*MODEL, "--set", "access.http.clientCaSecret=ca"), "clientCaSecret"),
        (
            (*MODEL, "--set", "podMonitor.enabled=true,podMonitor.matchLabels.a=b,access.http.tlsSecret=tls"),
            "podMonitor.tlsConfig is required",
        ),
        ((*MODEL, "--kube-version", "1.28"), "kubeVersion"),
        ((*ALONE, "--set", "env[0].name=ROBMON_DATA_DIR"), "env sets ROBMON_DATA_DIR, which is set already"),
        ((*ALONE, "--set", "env[0].name=ROBMON_MODEL__URI"), "env sets ROBMON_MODEL__URI, which is set already"),
        ((*ALONE, "--set", "env[0].name=CUDA_VISIBLE_DEVICES"), "env sets CUDA_VISIBLE_DEVICES"),
        ((*ALONE, "--set", "env[0].name=A,env[1].name=A"), "env sets A, which is set already"),
        ((*ALONE, "--set", "access.http.tokenSecret=t,env[0].name=ROBMON_HTTP__TOKEN_FILE"), "HTTP__TOKEN_FILE"),
        ((*ALONE, "--set", "standalone.podLabels.app\\.kubernetes\\.io/name=x"), "standalone.podLabels sets the label"),
        (
            (*ALONE, "--set", "prometheusRule.enabled=true,prometheusRule.additionalLabels.helm\\.sh/chart=x"),
            "prometheusRule.additionalLabels sets the label helm.sh/chart",
        ),
        (
            (*ALONE, "--set", "podMonitor.enabled=true,podMonitor.additionalLabels.app\\.kubernetes\\.io/instance=x"),
            "podMonitor.additionalLabels sets the label",
        ),
        ((*ALONE, "--set", "dashboards.enabled=true,dashboards.labelKey=helm.sh/chart"), "dashboards.labelKey sets"),
        ((*ALONE, "--set", "settings.device.name=cuda"), "device.mode none gives no device"),
        ((*ALONE, "--set", "settings.device.name=cuda:1"), "device.mode none gives no device"),
        ((*ALONE, "--set", "image.variant=gpu"), "/image/variant"),
        ((*ALONE, "--set", "image.digest=sha256:12"), "/image/digest"),
        (
            (*ALONE, "--set", "image.variant=remote"),
            "image.variant remote holds no model libraries, and settings.model",
        ),
        ((*ALONE, "--set", "image.variant=remote,settings.model.uri=runs:/1f/m"), "remote holds no model libraries"),
        ((*ALONE, "--set", "settings.model.uri=models:/digits"), "settings.model.uri is none that robmon takes"),
        ((*ALONE, "--set", "settings.model.uri=http://h/predict"), "settings.model.uri is none that robmon takes"),
        ((*ALONE, "--set", "image.variant=remote,device.mode=resource"), "image.variant remote has no CUDA"),
        ((*ALONE, "--set", "caBundle.configMap=a,caBundle.secret=b"), "caBundle names a configMap and a secret"),
        ((*ALONE, "--set", "caBundle.secret=b,env[0].name=SSL_CERT_FILE"), "env sets SSL_CERT_FILE"),
        ((*ALONE, "--set", "extraVolumes[0].name=robmon-data"), "extraVolumes sets the volume robmon-data"),
        ((*ALONE, "--set", "extraVolumes[0].name=a,extraVolumes[1].name=a"), "extraVolumes sets the volume a"),
        ((*ALONE, "--set", "extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/a"), "not among extraVolumes"),
        (
            (
                *ALONE,
                "--set",
                "extraVolumes[0].name=a,extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/data",
            ),
            "extraVolumeMounts mounts at /data",
        ),
        ((*ALONE, "--set", "persistence.size=much"), "/persistence/size"),
        ((*MODEL, "--set", "persistence.size=5Gi"), "persistence.size is for the standalone pod"),
        ((*MODEL, "--set", "priorityClassName=low"), "priorityClassName is for the standalone pod"),
        ((*MODEL, "--set", "networkPolicy.enabled=true"), "networkPolicy.enabled is for the standalone pod"),
        ((*ALONE, "--set", "settings.http.port=9878"), "settings.http.port and settings.inputs.port are both 9878"),
        ((*ALONE, "--set", "access.inputs.clientCaSecret=ca"), "clientCaSecret needs access.inputs.tlsSecret"),
        ((*MODEL, "--set", "runtimeClassName=nvidia"), "runtimeClassName is for the standalone pod"),
        ((*MODEL, "--set", "podSecurityContext.fsGroup=1"), "podSecurityContext is for the standalone pod"),
        (
            (
                *MODEL,
                "--set-json",
                'topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway"}]',
            ),
            "topologySpreadConstraints is for the standalone",
        ),
        ((*MODEL, "--set", "serviceAccount.create=true"), "serviceAccount is for the standalone pod"),
        ((*ALONE, "--set", "serviceAccount.annotations.a=b"), "serviceAccount.annotations needs serviceAccount.create"),
        ((*ALONE, "--set", "commonLabels.helm\\.sh/chart=x"), "commonLabels sets the label helm.sh/chart"),
        ((*ALONE, "--set", "commonLabels.a=x,standalone.podLabels.a=y"), "standalone.podLabels sets the label a"),
        ((*ALONE, "--set", "podMonitor.enabled=true,podMonitor.sampleLimit=-1"), "/podMonitor/sampleLimit"),
        ((*ALONE, "--set", "podMonitor.enabled=true,podMonitor.namespaceSelector.all=true"), "namespaceSelector"),
        ((*ALONE, "--set", "resources.limits.memory=lots"), "/resources/limits/memory"),
        (
            (*ALONE, "--set", "resources.limits.memory=512Mi"),
            "resources.limits.memory is 512Mi, less than the request of 640Mi",
        ),
        ((*ALONE, "--set", "resources.requests.memory=1.5Gi"), "resources.limits.memory is 1Gi, less than the request"),
        ((*ALONE, "--set", "resources.limits.cpu=99m"), "resources.limits.cpu is 99m, less than the request of 100m"),
        ((*ALONE, "--set", "resources.limits.memory=6e8"), "resources.limits.memory is 6e8, less than the request"),
        ((*INJECTING, "--set", "resources.limits.memory=512Mi"), "resources.limits.memory is 512Mi, less than"),
        ((*ALONE, "--set", "fullnameOverride=A_b"), 'the objects\' name would be "A_b"'),
        ((*ALONE, "--set", "nameOverride=my robmon"), 'the objects\' name would be "release-my robmon"'),
        ((*ALONE, "--set", "fullnameOverride=1robmon"), 'the Service\'s name would be "1robmon"'),
        ((*ALONE, "--set", "image.tag=a b"), 'image.tag makes the tag "a b", which is none'),
        ((*ALONE, "--set", "image.repository=/x/y"), 'image.registry and image.repository make "/x/y"'),
        ((*ALONE, "--set", "image.repository=Me/Robmon:1"), "which is no name of an image"),
        ((*ALONE, "--set", "commonLabels.a b=x"), 'commonLabels names the label "a b"'),
        ((*ALONE, "--set", "commonLabels.A_b/c=x"), 'commonLabels names the label "A_b/c"'),
        ((*ALONE, "--set", "commonLabels.a=-x"), 'commonLabels sets the label a to "-x"'),
        ((*ALONE, "--set", f"standalone.podLabels.a={'x' * 64}"), "standalone.podLabels sets the label a to"),
        ((*ALONE, "--set", "standalone.nodeSelector.a=b c"), "standalone.nodeSelector sets the label a"),
        ((*INJECTING, "--set", "injection.namespaceLabels.a=b c"), "injection.namespaceLabels sets the label a"),
        (("--set", "fleet.enabled=true,fleet.matchLabels.a=b c"), "fleet.matchLabels sets the label a"),
        (
            (*ALONE, "--set", "podMonitor.enabled=true,podMonitor.interval=10s,podMonitor.scrapeTimeout=30s"),
            "podMonitor.scrapeTimeout 30s is longer than podMonitor.interval 10s",
        ),
        (
            (*ALONE, "--set", "podMonitor.enabled=true,podMonitor.interval=1m,podMonitor.scrapeTimeout=1m1ms"),
            "podMonitor.scrapeTimeout 1m1ms is longer",
        ),
        ((*ALONE, "--set", "podMonitor.enabled=true,podMonitor.interval=often"), "/podMonitor/interval"),
        (
            (*ALONE, "--set", "persistence.size=5Gi,persistence.existingClaim=a"),
            "persistence.existingClaim a is there already, and persistence.size 5Gi",
        ),
        ((*ALONE, "--set", "extraManifests[0]=1"), "/extraManifests/0"),
        ((*ALONE, "--set", "env[0].name=HTTP_PROXY,env[0].value=8080"), "'/env/0/value': got number"),
        ((*ALONE, "--set", "env[0].name=A,env[0].valeu=b"), "'/env/0': additional properties 'valeu'"),
        ((*ALONE, "--set", "env[0].value=b"), "'/env/0': missing property 'name'"),
        ((*ALONE, "--set", "envFrom[0].secretRef.nam=b"), "'/envFrom/0/secretRef'"),
        ((*ALONE, "--set", "access.http.tokenSecret=My Secret"), "'/access/http/tokenSecret'"),
        ((*ALONE, "--set", "access.http.tokenSecret=a,access.http.tokenKey=../b"), "'/access/http/tokenKey'"),
        ((*ALONE, "--set", "caBundle.configMap=My CA"), "'/caBundle/configMap'"),
        ((*ALONE, "--set", "device.mode=resource,device.resource.name=gpu"), "'/device/resource/name'"),
        ((*ALONE, "--set", "standalone.imagePullSecrets[0].nam=a"), "'/standalone/imagePullSecrets/0'"),
        ((*ALONE, "--set", "standalone.tolerations[0].operator=Exist"), "'/standalone/tolerations/0/operator'"),
        ((*ALONE, "--set", "standalone.affinity.nodeafinity.a=b"), "'/standalone/affinity'"),
        ((*ALONE, "--set", "standalone.podAnnotations.a b=c"), "'/standalone/podAnnotations'"),
        ((*ALONE, "--set", "securityContext.runAsNonRot=true"), "'/securityContext'"),
        ((*ALONE, "--set", "podSecurityContext.fsgroup=1"), "'/podSecurityContext'"),
        ((*ALONE, "--set", "resources.limits.mem=2Gi"), "'/resources/limits': additional properties 'mem'"),
        (
            (*ALONE, "--set-json", 'networkPolicy={"enabled":true,"inputsFrom":[{}]}'),
            "'/networkPolicy/inputsFrom/0'",
        ),
        ((*ALONE, "--set", "listenAddress=[::]"), "'/listenAddress'"),
        ((*ALONE, "--set", "settings.http.port=0"), "'/settings/http/port'"),
        ((*ALONE, "--set-json", "settings.assess.levels=[0.1,-1]"), "'/settings/assess/levels/1'"),
        ((*ALONE, "--set-json", "settings.attack.radii=[0]"), "'/settings/attack/radii/0'"),
        ((*ALONE, "--set", "settings.history.scope=a b"), "'/settings/history/scope'"),
        (
            ("--set", "fleet.enabled=true,podMonitor.matchLabels.a=b"),
            "podMonitor.matchLabels is set, and fleet.enabled",
        ),
        (("--set", "fleet.enabled=true,podMonitor.namespaceSelector.any=true"), "podMonitor.namespaceSelector is set"),
        (
            ("--set-json", 'fleet={"enabled":true,"matchLabels":{"robmon.dev/watched":null}}'),
            "fleet.matchLabels is empty",
        ),
        (("--set", "injection.enabled=true"), "injection.enabled needs a cluster with MutatingAdmissionPolicy"),
        (
            (*INJECTING, "--set", "persistence.existingClaim=a"),
            "persistence is one claim, and injection.enabled is for many",
        ),
        ((*INJECTING, "--set", "settingsConfigMap=a"), "settingsConfigMap is one ConfigMap"),
        ((*INJECTING, "--set-json", 'injection.namespaceLabels={"robmon.dev/injection":null}'), "namespaceLabels"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_bad_values_are_refused(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    result = helm("template", "release", CHART, *arguments, home=tmp_path)
    assert result.returncode != 0
    assert complaint in result.stderr
