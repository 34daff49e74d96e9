# lines: 2
# pratique: ignore=df-sudoo because until=2099-01-01
FROM debian:12
