"""Names of programs that no package manager installed in, the names by which advisories speak of them out.

Bitnami's records (in OSV) are about upstream versions, and small enough for a scan to fetch; NVD's are by CPE, and asked where
they are there. https://nvd.nist.gov/products/cpe
"""

from __future__ import annotations

from typing import NamedTuple

# Not OSV's: packages named "vendor:product", versions as each project writes them.
CPES = "CPE"


class Program(NamedTuple):
    """Its name in Bitnami's records ("" for none), and as vendor and product of a CPE."""

    bitnami: str
    cpes: tuple[str, ...]


# By the lower-case name of a package of type "generic".
PROGRAMS = {
    "apache": Program("apache", ("apache:http_server",)),
    "bash": Program("", ("gnu:bash",)),
    "busybox": Program("", ("busybox:busybox",)),
    "consul": Program("consul", ("hashicorp:consul",)),
    "curl": Program("", ("haxx:curl",)),
    "dotnet": Program("dotnet", ("microsoft:.net", "microsoft:.net_core")),
    "elasticsearch": Program("elasticsearch", ("elastic:elasticsearch",)),
    "envoy": Program("envoy", ("envoyproxy:envoy",)),
    "erlang": Program("", ("erlang:erlang\\/otp", "erlang:otp")),
    "etcd": Program("etcd", ("etcd:etcd", "redhat:etcd")),
    "fluent-bit": Program("fluent-bit", ("treasuredata:fluent_bit",)),
    "git": Program("git", ("git-scm:git", "git:git")),
    "go": Program("golang", ("golang:go",)),
    "grafana": Program("grafana", ("grafana:grafana",)),
    "haproxy": Program("haproxy", ("haproxy:haproxy",)),
    "helm": Program("helm", ("helm:helm",)),
    "httpd": Program("apache", ("apache:http_server",)),
    "java": Program("java", ("oracle:jdk", "oracle:openjdk")),
    "jdk": Program("java", ("oracle:jdk", "oracle:openjdk")),
    "jre": Program("jre", ("oracle:jre", "oracle:openjdk")),
    "lua": Program("lua", ("lua:lua",)),
    "mariadb": Program("mariadb", ("mariadb:mariadb",)),
    "memcached": Program("memcached", ("memcached:memcached",)),
    "mysql": Program("", ("oracle:mysql", "oracle:mysql_server")),
    "nginx": Program("nginx", ("f5:nginx", "nginx:nginx")),
    "node": Program("node", ("nodejs:node.js",)),
    "nodejs": Program("node", ("nodejs:node.js",)),
    "openjdk": Program("java", ("oracle:jdk", "oracle:openjdk")),
    "openssl": Program("", ("openssl:openssl",)),
    "perl": Program("", ("perl:perl",)),
    "php": Program("php", ("php:php",)),
    "php-cli": Program("php", ("php:php",)),
    "php-fpm": Program("php", ("php:php",)),
    "postgresql": Program("postgresql", ("postgresql:postgresql",)),
    "prometheus": Program("prometheus", ("prometheus:prometheus",)),
    "python": Program("python", ("python:python",)),
    "rabbitmq": Program("rabbitmq", ("vmware:rabbitmq", "broadcom:rabbitmq_server")),
    "redis": Program("redis", ("redis:redis", "redislabs:redis")),
    "ruby": Program("ruby", ("ruby-lang:ruby",)),
    "rust": Program("", ("rust-lang:rust",)),
    "sqlite": Program("sqlite", ("sqlite:sqlite",)),
    "tomcat": Program("tomcat", ("apache:tomcat",)),
    "traefik": Program("", ("traefik:traefik",)),
    "valkey": Program("valkey", ("lfprojects:valkey",)),
    "varnish": Program("varnish", ("varnish-software:varnish_cache", "varnish_cache_project:varnish_cache")),
    "vault": Program("vault", ("hashicorp:vault",)),
}
