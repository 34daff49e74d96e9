# lines: 3
FROM debian:12
RUN sudo -u root chmod -R 777 /srv
