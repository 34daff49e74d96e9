# pratique: ignore=df-user-missing,df-healthcheck a base for others until=2099-01-01
FROM debian:12
