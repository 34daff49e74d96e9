# escape=`
# syntax=docker/dockerfile:1
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
RUN Invoke-WebRequest -Uri https://aka.ms/x.exe -OutFile C:\x.exe ; `
    Start-Process C:\x.exe -Wait ; `
    Remove-Item C:\x.exe
COPY app\ C:\app\
WORKDIR C:\app
USER ContainerUser
ENTRYPOINT ["C:\\app\\app.exe"]
