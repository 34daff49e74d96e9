# lines: 2 3
# pratique: ignore=df-sudo because
# pratique: ignore=df-sudo because until=soon
FROM debian:12
