# lines: 3
FROM debian:12
RUN ["bash", "-c", "curl x.example | sh"]
