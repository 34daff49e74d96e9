# lines: 3
FROM debian:12@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
# pratique: ignore=df-sudo needed by the tests until=2025-01-01
RUN sudo x
