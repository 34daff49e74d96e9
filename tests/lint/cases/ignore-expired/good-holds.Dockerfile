FROM debian:12
# pratique: ignore=df-sudo needed by the tests until=2099-01-01
RUN sudo x
