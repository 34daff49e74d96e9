# lines: 3
FROM debian:12
RUN chmod -R 777 /srv
